"""Captions keep their words and their positions."""

import shutil

import pytest

from show_attend_tell.metrics.tokenization import tokenize


@pytest.fixture
def program():
    if shutil.which("java") is None:
        pytest.skip("Java is not here")
    pytest.importorskip("pycocoevalcap.tokenizer.ptbtokenizer")


def test_ptb(program):
    result = tokenize(
        ["A Dog's ball (red).", "", "one\ntwo\r\nthree\u2028four\x0bfive"],
        [["It's \"here\", isn't it?"], ["...", "two -- dogs"], ["caf\u00e9"]],
    )
    assert (result.tokenizer, result.reason) == ("PTB", "")
    # The brackets stay, as in the published figures: pycocoevalcap takes out
    # -LRB-, but asks the tokenizer for lower case.
    assert result.candidates == [
        "a dog 's ball -lrb- red -rrb-",
        "",
        "one two three four five",
    ]
    assert result.references == [
        ["it 's here is n't it"],
        ["", "two dogs"],
        ["caf\u00e9"],
    ]


def test_scripts_without_spaces(program):
    result = tokenize(["一只狗 (T恤)。", "a dog 's"], [["หมา"], ["두 개"]])
    assert result.tokenizer == "PTB"
    assert result.candidates == ["一 只 狗 t 恤", "a dog 's"]
    assert result.references == [["ห มา"], ["두 개"]]


def test_empty_captions_keep_their_position(program):
    result = tokenize(["", ""], [["", ""], [""]])
    assert result.tokenizer == "PTB"
    assert (result.candidates, result.references) == (
        ["", ""],
        [["", ""], [""]],
    )


def test_half_a_surrogate_pair_does_not_move_captions(program):
    result = tokenize(["a \ud83d dog", "b"], [["c"], ["d"]])
    assert result.candidates[1] == "b"
    assert result.references == [["c"], ["d"]]


def test_words_without_java(monkeypatch):
    monkeypatch.setenv("PATH", "")
    result = tokenize(["A Dog's ball (red)."], [["Two -- dogs\n run!", "..."]])
    assert result.tokenizer == "words_of"
    assert "Java was not found" in result.reason
    assert result.candidates == ["a dog's ball red"]
    assert result.references == [["two dogs run", ""]]


def test_words_where_the_program_loses_captions(java):
    java("print('one')")
    result = tokenize(["A", "B"], [["C"], ["D"]])
    assert (result.tokenizer, result.candidates) == ("words_of", ["a", "b"])
    assert "2 lines for 4 captions" in result.reason
