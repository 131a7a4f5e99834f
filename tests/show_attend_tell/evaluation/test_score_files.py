"""scores.json: other splits stay, and so do files of others."""

import json
import types

import numpy as np
import pytest

from pipelines.errors import UserError
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.evaluation.score_files import (
    check_score_files,
    read_scores,
    write_evaluation,
)
from show_attend_tell.inference.caption import Caption


def evaluation(split: str, value: float):
    image = types.SimpleNamespace(id="1")
    attention = np.full((2, 1, 1), 1.0, np.float32)
    caption = Caption(("a", "dog"), -1, -1, True, attention, np.ones(2))
    figures = {"split": split, "BLEU-4": value, "intervals": {}}
    return types.SimpleNamespace(
        split=split,
        images=[image],
        captions=[caption],
        figures=figures,
        boxes=None,
        reference_attention=None,
    )


def test_other_splits_stay(tmp_path):
    folder, beam = str(tmp_path), Decoding()
    assert read_scores(folder) == {}
    trained = [evaluation("test", 0.1), evaluation("novel", 0.2)]
    content = write_evaluation(folder, trained, beam)
    assert content["BLEU-4"] == 0.1 and content["novel"]["BLEU-4"] == 0.2
    again = [evaluation("validation", 0.3), evaluation("novel", 0.4)]
    greedy = Decoding(method="greedy")
    content = write_evaluation(folder, again, greedy, read_scores(folder))
    assert content == json.loads((tmp_path / "scores.json").read_text())
    assert list(content)[0] == "split" and content["split"] == "test"
    assert (content["BLEU-4"], content["decoding"]["method"]) == (0.1, "beam")
    for split, value in (("validation", 0.3), ("novel", 0.4)):
        assert content[split]["BLEU-4"] == value
        assert content[split]["decoding"]["method"] == "greedy"
    check_score_files(folder, ["test", "novel", "validation"])
    (entry,) = json.loads((tmp_path / "captions_novel.json").read_text())
    assert (entry["image_id"], entry["caption"]) == ("1", "a dog")
    (phrase,) = entry["phrases"]
    assert phrase["phrase"] == "a dog" and phrase["box"] == [0, 0, 1, 1]


def test_files_of_others_stay(tmp_path):
    for name, content in (
        ("scores.json", '{"Tom": 3}'),
        ("captions_test.json", '[{"image_id": 1, "caption": "mine"}]'),
    ):
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=f"{name}' is there.*--output"):
            check_score_files(str(tmp_path), ["test"])
        (tmp_path / name).unlink()


@pytest.mark.parametrize("content", ["[]", '{"split": 1}', '{"BLEU-1": 1}'])
def test_scores_of_something_else_are_not_kept(tmp_path, content):
    (tmp_path / "scores.json").write_text(content)
    with pytest.raises(UserError, match="scores.json"):
        read_scores(str(tmp_path))
