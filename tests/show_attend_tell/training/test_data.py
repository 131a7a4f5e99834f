"""The words of a run are known before anything is extracted."""

import pytest
from PIL import Image

from pipelines.errors import UserError
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.training import data

CAPTIONS = ("a dog runs", "a dog sleeps", "a cat on a bed")


class Extraction(Exception):
    """Annotations would be extracted now."""


@pytest.fixture
def config(tmp_path, monkeypatch):
    def extract(*arguments):
        raise Extraction

    monkeypatch.setattr(data, "_prepare_cache", extract)
    lines = ["file,caption,split"]
    for n, caption in enumerate([*CAPTIONS, "a dog"]):
        Image.new("RGB", (8, 8)).save(tmp_path / f"{n}.png")
        split = "train" if n < len(CAPTIONS) else "val"
        lines.append(f"{n}.png,{caption},{split}")
    (tmp_path / "captions.csv").write_text("\n".join(lines))
    return RunConfig().replace(
        dataset="folder",
        data_dir=str(tmp_path),
        captions=str(tmp_path / "captions.csv"),
        encoder="scenes",
        min_count=1,
    )


def test_a_vocabulary_without_words_stops_before_extraction(config, tmp_path):
    with pytest.raises(UserError) as raised:
        data.prepare_data(config.replace(min_count=5), str(tmp_path))
    assert str(raised.value) == (
        "Expected words that occur --min_count=5 times in the captions of "
        "training. Received: 7 words, of which the most frequent, 'a', occurs "
        "4 times. Give --min_count=1 to keep all."
    )


@pytest.mark.parametrize(
    ("changes", "share"),
    [
        ({}, None),
        # Of 11 words those of "a" and "dog" are 6.
        ({"min_count": 2}, "45%"),
        ({"vocabulary_size": 1}, "64%"),
        ({"vocabulary_size": 6}, None),  # 9 %
    ],
)
def test_many_unknown_words_are_noted(config, tmp_path, capsys, changes, share):
    with pytest.raises(Extraction):
        data.prepare_data(config.replace(**changes), str(tmp_path))
    printed = capsys.readouterr().out
    if share is None:
        assert "unknown" not in printed
    else:
        assert f"note: {share} of the words of training" in printed
        assert "--min_count=" in printed and "--vocabulary_size=" in printed


def test_splits_that_training_does_not_know_are_noted(config, tmp_path, capsys):
    file = tmp_path / "captions.csv"
    rows = file.read_text().replace(",train", ",Training").split("\n")
    Image.new("RGB", (8, 8)).save(tmp_path / "9.png")
    file.write_text("\n".join([*rows, "9.png,a dog,tets"]))
    with pytest.raises(Extraction):
        data.prepare_data(config, str(tmp_path))
    printed = capsys.readouterr().out
    assert "note: nothing is trained or validated on the splits tets" in printed
    file.write_text("\n".join(rows[:-1]))
    with pytest.raises(UserError, match="'validation', .* it has train"):
        data.prepare_data(config, str(tmp_path))
