"""Scoring files of captions: a table, scores.json, and clear errors."""

import json
import os
import subprocess
import sys

import pytest

from tests.conftest import ROOT
from tests.show_attend_tell.conftest import call_command

REFERENCES = {
    1: ["A dog runs on grass.", "The dog is running."],
    2: ["Two cats sleep on a bed."],
    3: ["A man rides a bike."],
    4: ["A bird."],
}
CAPTIONS = {1: "a dog runs", 2: "two cats on a bed", 3: "a man rides a bike"}
WORSE = {3: "a man", 2: "a dog", 1: "a dog runs"}
# From CAPTIONS: 3 of 3, 5 of 5, 5 of 5 words; c = 13; the closest references
# have 4, 6 and 5 words; exp(1 - 15 / 13).
BLEU_1 = 0.857403919


@pytest.fixture
def files(tmp_path, monkeypatch):
    pairs = [(id, text) for id, texts in REFERENCES.items() for text in texts]
    truth = [{"image_id": id, "caption": text} for id, text in pairs]
    rows = [{"file": f"{id}.jpg", "caption": text} for id, text in pairs]
    for name, text in {
        "truth.json": json.dumps({"annotations": truth}),
        "truth.jsonl": "\n".join(map(json.dumps, rows)),
        "truth.csv": "\n".join(
            ["file,caption", *(f"{id}.jpg,{text}" for id, text in pairs)]
        ),
        "truth.token": "".join(f"{i}.jpg#0\t{text}\n" for i, text in pairs),
    }.items():
        (tmp_path / name).write_text(text)
    for name, captions in {
        "captions.json": CAPTIONS,
        "worse.json": WORSE,
        "other.json": {1: "a dog"},
        "empty.json": {1: "a dog", 2: " "},
    }.items():
        entries = [{"image_id": i, "caption": t} for i, t in captions.items()]
        (tmp_path / name).write_text(json.dumps(entries))
    monkeypatch.setenv("PATH", "")  # Without Java, which takes seconds.
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_table_and_json(files):
    done = call_command(
        "evaluate",
        "--predictions=captions.json",
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


@pytest.mark.parametrize("name", ["truth.token", "truth.csv", "truth.jsonl"])
def test_references_of_every_format(files, name):
    done = call_command(
        "evaluate", "--predictions=captions.json", f"--references={name}"
    )
    assert done.returncode == 0, done.stderr
    assert "3 images with 4 references" in done.stdout
    assert "BLEU-1             0.8574" in done.stdout


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--predictions=FILE and --references=FILE, or"),
        (("--predictions=captions.json",), "references=None"),
        (("--predictions=no.json", "--references=truth.json"), "'no.json'"),
        (
            ("--predictions=truth.json", "--references=captions.json"),
            "Received: list",
        ),
        (
            (
                "--predictions=captions.json",
                "--references=truth.json",
                "--compare=other.json",
            ),
            "2 images only in the first and 0 only in the second, such as 2",
        ),
        (
            (
                "--predictions=captions.json",
                "--references=truth.json",
                "--split=test",
            ),
            "it has none",
        ),
        (("captions.json",), "Received: 'captions.json'"),
    ],
)
def test_mistakes(files, arguments, message):
    done = call_command("evaluate", *arguments)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr


def test_what_matches_nothing_and_what_is_undefined_is_stated(files):
    done = call_command(
        "evaluate",
        "--predictions=empty.json",
        "--references=truth.json",
        "--output=out",
    )
    assert done.returncode == 0, done.stderr
    assert "note: 1 of 2 captions have no words, and 0 ref" in done.stderr
    reason = "undefined, because no caption has 3 words"
    assert f"\nBLEU-3, BLEU-3_no_penalty: {reason}" in done.stdout
    scores = json.loads((files / "out" / "scores.json").read_text())
    assert scores["BLEU-3"] is None and scores["BLEU-2"] >= 0
    assert scores["wordless"] == {"captions": 1, "references": 0}


def test_without_pycocoevalcap_and_tensorflow(files):
    # What is None cannot be imported.
    code = (
        "import runpy, sys\n"
        "for name in ('pycocoevalcap', 'tensorflow', 'keras'):\n"
        "    sys.modules[name] = None\n"
        "runpy.run_module('show_attend_tell.evaluate', run_name='__main__')\n"
    )
    arguments = ["--predictions=captions.json", "--references=truth.json"]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr.count("pip install '.[eval]'") == 1
    assert "without PTB, METEOR, ROUGE-L, SPICE" in done.stderr
    assert "0.8574" in done.stdout
