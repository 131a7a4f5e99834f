"""Words, their ids and the file of them."""

import hashlib

import numpy as np
import pytest

from pipelines import vocabulary
from pipelines.errors import UserError
from pipelines.vocabulary import (
    END,
    PADDING,
    START,
    UNKNOWN,
    Vocabulary,
)

SPECIAL = "<pad>\n<start>\n<end>\n<unk>\n"


def test_ids_are_by_frequency_then_by_letter():
    captions = ["a dog and a cat", "A cat, and a bird!", "a dog"]
    words = Vocabulary.build(captions)
    # a 5, and 2, cat 2, dog 2, bird 1.
    assert words.words[4:] == ("a", "and", "cat", "dog", "bird")
    assert len(words) == 9
    assert Vocabulary.build(iter(captions[::-1])).words == words.words
    fewer = Vocabulary.build(captions, min_count=2)
    assert fewer.words[4:] == ("a", "and", "cat", "dog")
    fewest = Vocabulary.build(captions, size=2, min_count=2)
    assert fewest.words[4:] == ("a", "and")
    assert Vocabulary.build([]).words == ("<pad>", "<start>", "<end>", "<unk>")


def test_scripts_without_spaces_have_the_words_of_characters():
    words = Vocabulary.build(["一只狗在跑。", "一只猫", "น้ำ a"], min_count=2)
    assert words.words[4:] == ("一", "只")
    words = Vocabulary.build(["一只狗在跑。", "น้ำ a"])
    tokens = words.encode("狗 a น้ำ")
    assert UNKNOWN not in tokens
    assert words.decode(tokens) == ["狗", "a", "น้ำ"]


def test_encode_and_decode_by_hand():
    words = Vocabulary(["a", "dog", "runs"])
    assert (PADDING, START, END, UNKNOWN) == (0, 1, 2, 3)
    tokens = words.encode("A dog, a CAT; runs!")
    np.testing.assert_array_equal(tokens, [1, 4, 5, 4, 3, 6, 2])
    assert tokens.dtype == np.int32
    assert words.decode(tokens) == ["a", "dog", "a", "<unk>", "runs"]
    np.testing.assert_array_equal(words.encode(" ... "), [1, 2])
    # What the special words look like is text like any other.
    np.testing.assert_array_equal(words.encode("<end> <pad>"), [1, 3, 3, 2])
    # Nothing is read after the end; a caption may be cut before it.
    assert words.decode([1, 4, 2, 5, 99]) == ["a"]
    assert words.decode(np.array([4, 0, 5, 0])) == ["a", "dog"]
    assert words.decode([]) == []


def test_file_and_digest(tmp_path):
    words = Vocabulary(["a", "naïve", "dog's"])
    path = tmp_path / "vocabulary.txt"
    words.save(path)
    data = (SPECIAL + "a\nnaïve\ndog's\n").encode()
    assert path.read_bytes() == data
    assert words.digest == hashlib.sha256(data).hexdigest()
    loaded = Vocabulary.load(path)
    assert loaded.words == words.words and loaded.digest == words.digest
    np.testing.assert_array_equal(loaded.encode("dog's"), [1, 6, 2])
    assert Vocabulary(["naïve", "a", "dog's"]).digest != words.digest
    Vocabulary([]).save(path)
    assert len(Vocabulary.load(path)) == 4


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\n",
        b"a\ndog\n",
        SPECIAL.encode()[:-1],
        (SPECIAL + "a").encode(),
        (SPECIAL + "a\na\n").encode(),
        (SPECIAL + "a\n<end>\n").encode(),
        (SPECIAL + "a\n\ndog\n").encode(),
        (SPECIAL + "a\n\n").encode(),
        SPECIAL.encode() + b"\xff\n",
        b"\x00" * 64,
        b"<start>\n<pad>\n<end>\n<unk>\n",
    ],
    ids=range(12),
)
def test_malformed_files(tmp_path, data):
    path = tmp_path / "vocabulary.txt"
    path.write_bytes(data)
    with pytest.raises(UserError, match="vocabulary"):
        Vocabulary.load(path)


def test_a_missing_file_and_a_huge_one(tmp_path, monkeypatch):
    with pytest.raises(UserError, match="nothing.txt"):
        Vocabulary.load(tmp_path / "nothing.txt")
    path = tmp_path / "vocabulary.txt"
    Vocabulary(["a"]).save(path)
    monkeypatch.setattr(vocabulary, "_MAX_BYTES", 10)
    with pytest.raises(UserError, match="at most 10 bytes"):
        Vocabulary.load(path)


@pytest.mark.parametrize(
    "words", [["a", "a"], ["<pad>"], [""], ["two words"], ["line\nbreak"]]
)
def test_words_that_cannot_be(words):
    # A file of them would not give them back.
    with pytest.raises(UserError, match="vocabulary"):
        Vocabulary(words)


def test_old_words_keep_their_ids():
    old = Vocabulary(["zebra", "a", "dog"])
    new = Vocabulary.build(["a cat and a dog", "<pad> cat"], size=3)
    assert new.words[4:] == ("a", "cat", "and")
    merged = old.extended([*SPECIAL.split(), *new.words])
    assert merged.words == (*old.words, "cat", "and")
    assert merged.encode("a zebra and a bird").tolist() == [
        START,
        *(5, 4, 8, 5, UNKNOWN),
        END,
    ]
    text = SPECIAL + "zebra\na\ndog\ncat\nand\n"
    assert merged.digest == hashlib.sha256(text.encode()).hexdigest()
    # Once more, nothing is new.
    assert merged.extended(new.words).digest == merged.digest
