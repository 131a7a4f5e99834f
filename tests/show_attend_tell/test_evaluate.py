"""The command: a table, scores.json, and clear errors."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.show_attend_tell.conftest import run_command

REFERENCES = {
    "annotations": [
        {"image_id": 1, "caption": "A dog runs on grass."},
        {"image_id": 1, "caption": "The dog is running."},
        {"image_id": 2, "caption": "Two cats sleep on a bed."},
        {"image_id": 3, "caption": "A man rides a bike."},
        {"image_id": 4, "caption": "A bird."},
    ]
}
SAID = {1: "a dog runs", 2: "two cats on a bed", 3: "a man rides a bike"}
WORSE = {3: "a man", 2: "a dog", 1: "a dog runs"}
# From SAID: 3 of 3, 5 of 5, 5 of 5 words; c = 13; the closest references
# have 4, 6 and 5 words; exp(1 - 15 / 13).
BLEU_1 = 0.857403919


@pytest.fixture
def files(tmp_path):
    def results(name, captions):
        path = tmp_path / name
        entries = [
            {"image_id": id, "caption": text} for id, text in captions.items()
        ]
        path.write_text(json.dumps(entries))
        return path

    (tmp_path / "truth.json").write_text(json.dumps(REFERENCES))
    results("said.json", SAID)
    results("worse.json", WORSE)
    results("other.json", {1: "a dog"})
    results("empty.json", {1: "a dog", 2: " "})
    return tmp_path


@pytest.fixture
def evaluate(files, monkeypatch):
    """Runs the command where there is no Java, which takes seconds."""
    monkeypatch.setenv("PATH", "")

    def evaluate(*arguments):
        return run_command("evaluate", *arguments, cwd=files)

    return evaluate


def test_table_and_json(evaluate, files):
    done = evaluate(
        "--predictions=said.json",
        "--references=truth.json",
        "--compare=worse.json",
        "--output=out",
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("Java was not found") == 1
    assert "without PTB, METEOR" in done.stderr
    assert "figures of the literature are by PTB" in done.stderr
    assert "3 images with 4 references, matched by id; 1 more" in done.stdout
    assert "tokenizer words_of" in done.stdout
    rows = {
        line.split()[0]: line.split()[1:]
        for line in done.stdout.splitlines()
        if line.strip()
    }
    assert rows["BLEU-1"][0] == "0.8574"
    # words 3 of 3, 1 of 2 and 2 of 2; c = 7, the closest as before:
    # 6 / 7 * exp(1 - 15 / 7) = 0.2733
    assert rows["BLEU-1"][4:6] == ["0.2733", "+0.5841"]
    assert rows["vocabulary"] == ["10", "4", "+6"]
    scores = json.loads((files / "out" / "scores.json").read_text())
    assert scores["BLEU-1"] == pytest.approx(BLEU_1, abs=1e-8)
    assert scores["BLEU-1_no_penalty"] == pytest.approx(1)
    assert scores["images"] == 3
    assert scores["references"] == 4
    assert scores["images_without_prediction"] == 1
    assert scores["tokenizer"] == "words_of"
    assert set(scores["left_out"]) >= {"PTB", "METEOR", "SPICE"}
    low, high = scores["intervals"]["BLEU-1"]
    assert low <= BLEU_1 <= high
    difference = scores["differences"]["BLEU-1"]
    assert difference["value"] == pytest.approx(BLEU_1 - 0.27335, abs=1e-4)
    assert difference["interval"][0] <= difference["value"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--predictions=FILE and --references=FILE. Received"),
        (("--predictions=said.json",), "references=None"),
        (("--predictions=no.json", "--references=truth.json"), "'no.json'"),
        (
            ("--predictions=empty.json", "--references=truth.json"),
            "empty.json[1] (image_id 2). Received: an empty caption",
        ),
        (
            ("--predictions=truth.json", "--references=said.json"),
            "Received: list",
        ),
        (
            (
                "--predictions=said.json",
                "--references=truth.json",
                "--compare=other.json",
            ),
            "2 images only in the first and 0 only in the second, such as 2",
        ),
        (
            (
                "--predictions=said.json",
                "--references=truth.json",
                "--split=test",
            ),
            "it has none",
        ),
        (("said.json",), "Received: 'said.json'"),
    ],
)
def test_mistakes_are_told_in_a_line(evaluate, arguments, message):
    done = evaluate(*arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_without_pycocoevalcap_and_tensorflow(files):
    # What is None cannot be imported.
    code = (
        "import runpy, sys\n"
        "for name in ('pycocoevalcap', 'tensorflow', 'keras'):\n"
        "    sys.modules[name] = None\n"
        "runpy.run_module('show_attend_tell.evaluate', run_name='__main__')\n"
    )
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "--predictions=said.json",
            "--references=truth.json",
        ],
        cwd=files,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pip install '.[eval]'") == 1
    assert "without PTB, METEOR, ROUGE-L, SPICE" in done.stderr
    assert "0.8574" in done.stdout
