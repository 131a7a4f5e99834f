"""The vocabulary: words and their ids."""

import collections
import hashlib
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from pipelines.errors import UserError
from pipelines.files import read_text, write_atomically
from pipelines.words import words_of

PADDING, START, END, UNKNOWN = range(4)
SPECIAL = ("<pad>", "<start>", "<end>", "<unk>")

_MAX_BYTES = 64 * 2**20


def count_words(captions: Iterable[str]) -> collections.Counter:
    """Returns how often each word occurs."""
    counts = collections.Counter()
    for caption in captions:
        counts.update(words_of(caption))
    return counts


class Vocabulary:
    """Words by id, the most frequent first.

    Ids 0 to 3 are padding, start, end and unknown.

    Args:
        words: Every word once, without the four special ones.

    Example:
    ```python
    vocabulary = Vocabulary.build(["A dog runs.", "A cat sleeps."])
    tokens = vocabulary.encode("a dog sleeps")
    vocabulary.decode(tokens)  # ["a", "dog", "sleeps"]
    ```
    """

    def __init__(self, words: Sequence[str]):
        self.words = (*SPECIAL, *words)
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            raise UserError("a vocabulary must hold every word once")
        if any(word.split() != [word] for word in words):
            raise UserError("a word of a vocabulary is empty or has spaces")

    @classmethod
    def build(
        cls,
        captions: Iterable[str],
        size: int | None = None,
        min_count: int = 1,
    ) -> "Vocabulary":
        """Builds the vocabulary of captions.

        Args:
            captions: The training captions.
            size: The most words to keep, or `None` for all.
            min_count: How often a word must occur to be kept.
        """
        return cls.of_counts(count_words(captions), size, min_count)

    @classmethod
    def of_counts(
        cls, counts: Mapping[str, int], size: int | None, min_count: int
    ) -> "Vocabulary":
        """Builds the vocabulary of counted words, see `build`."""
        ranked = sorted(counts.items(), key=lambda item: (-item[1], item[0]))
        return cls([w for w, n in ranked if n >= min_count][:size])

    def extended(self, words: Iterable[str]) -> "Vocabulary":
        """Returns a vocabulary with new words appended, in their order."""
        new = [word for word in words if word not in self._ids]
        return Vocabulary([*self.words[len(SPECIAL) :], *new])

    @classmethod
    def load(cls, path: str) -> "Vocabulary":
        """Reads a vocabulary file, one word a line.

        Raises:
            UserError: It is missing, too large, no text, or does not begin
                with the special words.
        """
        return cls.from_text(read_text(path, max_bytes=_MAX_BYTES), path)

    @classmethod
    def from_text(cls, text: str, name: str) -> "Vocabulary":
        """Parses the text of a vocabulary file.

        Args:
            text: One word a line.
            name: The file's name in error messages.

        Raises:
            UserError: It does not begin with the special words.
        """
        words = text.split("\n")
        if tuple(words[: len(SPECIAL)]) != SPECIAL or words.pop() != "":
            raise UserError(
                f"{name} is not a vocabulary: its first lines must be "
                f"{', '.join(SPECIAL)}, one a line"
            )
        return cls(words[len(SPECIAL) :])

    def save(self, path: str) -> None:
        """Writes one word a line, UTF-8, in the order of their ids."""
        write_atomically(path, self.text.encode())

    @property
    def text(self) -> str:
        """One word a line."""
        return "".join(f"{word}\n" for word in self.words)

    @property
    def digest(self) -> str:
        """SHA-256 of the file that `save` writes."""
        return hashlib.sha256(self.text.encode()).hexdigest()

    def __len__(self) -> int:
        return len(self.words)

    def ids_of(self, words: Iterable[str]) -> list[int]:
        """Returns the id of each word, as it is spelled."""
        return [self._ids.get(word, UNKNOWN) for word in words]

    def encode(self, caption: str) -> np.ndarray:
        """Returns start, the words, end, as int32 `(words + 2,)`."""
        ids = self.ids_of(words_of(caption))
        return np.array([START, *ids, END], np.int32)

    def decode(self, tokens: Iterable[int]) -> list[str]:
        """Returns the words up to the end token; padding and start dropped."""
        words = []
        for token in tokens:
            if token == END:
                break
            if token not in (PADDING, START):
                words.append(self.words[token])
        return words
