"""Scoring a trained captioner, as a user does it."""

import hashlib
import json
import shutil

import pytest

from pipelines.sources.scenes import load_scenes
from pipelines.words import words_of
from show_attend_tell.metrics.bleu import bleu
from tests.show_attend_tell.conftest import call_command, command_environment


@pytest.fixture(scope="module")
def evaluated(trained, tmp_path_factory):
    """What `evaluate` wrote on the test split, another split, and a page."""
    folder = tmp_path_factory.mktemp("evaluated")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", command_environment()["PATH"])
        done = call_command(
            "evaluate",
            f"--workdir={trained}",
            "--split=test,dev",
            f"--output={folder}",
            f"--report={folder / 'report'}",
            f"--compare={trained / 'captions_test.json'}",
        )
    assert done.returncode == 0, done.stderr
    return folder, done


def test_it_writes_what_the_training_wrote(trained, evaluated):
    folder, _ = evaluated
    captions = (folder / "captions_test.json").read_text()
    assert captions == (trained / "captions_test.json").read_text()
    scores = json.loads((folder / "scores.json").read_text())
    before = json.loads((trained / "scores.json").read_text())
    del scores["validation"], before["novel"]
    assert scores == before


def test_scores_are_of_the_captions_that_it_wrote(evaluated):
    folder, _ = evaluated
    scores = json.loads((folder / "scores.json").read_text())
    entries = json.loads((folder / "captions_test.json").read_text())
    images = {i.id: i for i in load_scenes(0, 0, 12, 0).images}
    assert [e["image_id"] for e in entries] == list(images)
    # Words of scenes are the same to every tokenizer.
    expected = bleu(
        [e["caption"].split() for e in entries],
        [[words_of(t) for t in i.captions] for i in images.values()],
    )
    for name, value in expected.items():
        assert scores[name] == pytest.approx(value, abs=1e-9)
    assert scores["images"] == 12 and scores["references"] == 60
    low, high = scores["intervals"]["BLEU-4"]
    assert low <= scores["BLEU-4"] <= high
    assert scores["decoding"]["beam_width"] == 5


def test_both_splits_and_the_comparison_are_printed(trained, evaluated):
    folder, done = evaluated
    scores = json.loads((folder / "scores.json").read_text())
    assert (scores["split"], scores["validation"]["split"]) == (
        "test",
        "validation",
    )
    assert "test: 12 images" in done.stdout
    assert "validation: 8 images" in done.stdout
    assert str(trained / "captions_test.json") in done.stdout
    assert "+0.0000 to +0.0000" in done.stdout
    page = (folder / "report" / "index.html").read_text()
    assert "scenes-0-test-" in page


@pytest.mark.proof
def test_annotations_that_are_missing_are_extracted(trained, tmp_path):
    copy = tmp_path / "run"
    ignored = shutil.ignore_patterns("annotations", "tensorboard")
    shutil.copytree(trained, copy, ignore=ignored)
    done = call_command(
        "evaluate", f"--workdir={copy}", "--split=test", "--method=greedy"
    )
    assert done.returncode == 0, done.stderr
    assert (copy / "annotations_test").is_dir()
    scores = json.loads((copy / "evaluated" / "scores.json").read_text())
    assert scores["decoding"]["method"] == "greedy"
    before = (trained / "scores.json").read_text()
    assert (copy / "scores.json").read_text() == before


def test_mistakes(trained, tmp_path):
    (tmp_path / "page").mkdir()
    (tmp_path / "page" / "index.html").write_text("<!doctype html> my page")
    (tmp_path / "scores.json").write_text('{"Tom": 3}')
    for arguments, message in (
        (
            [f"--workdir={trained}", f"--report={tmp_path / 'page'}"]
            + [f"--output={tmp_path / 'new'}"],
            "index.html' is there",
        ),
        (
            [f"--workdir={trained}", f"--output={tmp_path}"],
            "scores.json' is there",
        ),
        ([f"--workdir={trained}", "--split=train2"], "Expected --split"),
        ([f"--workdir={tmp_path}"], "show_attend_tell.train"),
        ([], "Expected --workdir=DIR, or --predictions=FILE"),
    ):
        done = call_command("evaluate", *arguments)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr


@pytest.mark.proof
def test_an_ensemble_is_never_taken_for_one_model(trained, tmp_path):
    done = call_command(
        "evaluate",
        f"--workdir={trained}",
        "--split=test",
        f"--ensemble={trained},{trained / 'best.keras'}",
        f"--output={tmp_path}",
        f"--report={tmp_path / 'report'}",
    )
    assert done.returncode == 0, done.stderr
    scores = json.loads((tmp_path / "scores.json").read_text())
    model = trained / "best.keras"
    digest = hashlib.sha256(model.read_bytes()).hexdigest()
    assert scores["ensemble"] == [{"model": str(model), "sha256": digest}] * 3
    assert f"ensemble of {model}, " in done.stdout
    page = (tmp_path / "report" / "index.html").read_text()
    assert "an ensemble of 3 models" in page
    # The same three times writes what one writes.
    single = (trained / "captions_test.json").read_text()
    assert (tmp_path / "captions_test.json").read_text() == single
