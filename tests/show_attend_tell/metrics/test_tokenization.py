"""Captions keep their words and their positions."""

import shutil

import pytest

from show_attend_tell.metrics.tokenization import tokenize


@pytest.fixture
def java():
    if shutil.which("java") is None:
        pytest.skip("Java is not here")
    pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")


def test_ptb(java):
    found = tokenize(
        ["A Dog's ball (red).", "", "one\ntwo\r\nthree\u2028four\x0bfive"],
        [["It's \"here\", isn't it?"], ["...", "two -- dogs"], ["caf\u00e9"]],
    )
    assert (found.tokenizer, found.reason) == ("PTB", "")
    # The brackets stay, as in the published figures: pycocoevalcap takes out
    # -LRB-, but asks the tokenizer for lower case.
    assert found.candidates == [
        "a dog 's ball -lrb- red -rrb-",
        "",
        "one two three four five",
    ]
    assert found.references == [
        ["it 's here is n't it"],
        ["", "two dogs"],
        ["caf\u00e9"],
    ]


def test_captions_that_are_all_empty_keep_their_places(java):
    found = tokenize(["", ""], [["", ""], [""]])
    assert found.tokenizer == "PTB"
    assert found.candidates == ["", ""]
    assert found.references == [["", ""], [""]]


def test_half_a_surrogate_pair_does_not_move_captions(java):
    found = tokenize(["a \ud83d dog", "b"], [["c"], ["d"]])
    assert found.candidates[1] == "b"
    assert found.references == [["c"], ["d"]]


def test_own_words_without_java(monkeypatch):
    monkeypatch.setenv("PATH", "")
    found = tokenize(["A Dog's ball (red)."], [["Two -- dogs\n run!", "..."]])
    assert found.tokenizer == "words_of"
    assert "Java was not found" in found.reason
    assert found.candidates == ["a dog's ball red"]
    assert found.references == [["two dogs run", ""]]


def test_own_words_where_the_program_loses_captions(tmp_path, monkeypatch):
    pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")
    java = tmp_path / "java"
    java.write_text("#!/bin/sh\necho one\n")
    java.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    found = tokenize(["A", "B"], [["C"], ["D"]])
    assert (found.tokenizer, found.candidates) == ("words_of", ["a", "b"])
    assert "2 lines for 4 captions" in found.reason
