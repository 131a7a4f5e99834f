"""Epochs are compared by what is defined, and what is not is noted."""

import json
import types

import pytest

from pipelines.captions import CaptionedImage
from pipelines.vocabulary import Vocabulary
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.training.validation import Validation
from tests.show_attend_tell import tiny

REFERENCES = ("a dog runs on the grass", "a cat sleeps on a bed")
SHORT = {"BLEU-4": None, "words": 2.0}


@pytest.fixture
def make(tmp_path):
    def make(images=2, objective="likelihood"):
        captioned = tuple(
            CaptionedImage(str(n), "validation", (REFERENCES[n],))
            for n in range(images)
        )
        data = types.SimpleNamespace(
            splits={"validation": captioned},
            boxes=None,
            cache=types.SimpleNamespace(
                metadata=types.SimpleNamespace(grid=(1, tiny.L))
            ),
            vocabulary=Vocabulary(list("abcdefg")),
        )
        config = RunConfig().replace(
            dataset="folder", objective=objective, patience=2
        )
        captioner = tiny.make_captioner()
        return Validation(config, str(tmp_path), data, captioner, 99)

    return make


def test_an_undefined_score_is_never_better_and_never_an_end(
    make, tmp_path, capsys
):
    validation = make()
    for epoch in (1, 2, 3, 4):
        # As long as none is defined, the last is the best.
        assert validation.is_best(SHORT)
        validation.report(epoch, epoch, SHORT, [])
        assert not validation.is_over()
    printed = capsys.readouterr().out
    assert "BLEU-4 undefined, words 2.000" in printed
    assert "BLEU-4 is undefined, because no caption has 4 words" in printed
    assert not (tmp_path / "curves.svg").exists()
    assert validation.is_best({"BLEU-4": 0.0})
    validation.report(5, 5, {"BLEU-4": 0.1}, [])
    assert (tmp_path / "curves.svg").exists()
    assert not validation.is_best(SHORT)
    assert not validation.is_best({"BLEU-4": 0.1})
    assert validation.is_best({"BLEU-4": 0.2})
    validation.report(6, 6, SHORT, [])
    assert not validation.is_over()
    validation.report(7, 7, {"BLEU-4": 0.1}, [])
    assert validation.is_over()
    history = json.loads((tmp_path / "history.json").read_text())
    assert [entry["BLEU-4"] for entry in history][3:6] == [None, 0.1, None]
    # A run that goes on reads it back.
    assert make().is_over()


def scored(validation, monkeypatch):
    captions = [
        types.SimpleNamespace(words=tuple(text.split()), text=text)
        for text in REFERENCES
    ]
    monkeypatch.setattr(
        "show_attend_tell.training.validation.caption_split",
        lambda generator, cache, images, decoding: captions[: len(images)],
    )
    return validation.score()[0]


def test_one_validation_image_is_noted(make, monkeypatch, capsys):
    assert scored(make(1, "self_critical"), monkeypatch)["CIDEr-D"] is None
    assert "validation has one image" in capsys.readouterr().out
    scores = scored(make(2, "self_critical"), monkeypatch)
    assert scores["CIDEr-D"] == pytest.approx(10)
    assert "one image" not in capsys.readouterr().out
