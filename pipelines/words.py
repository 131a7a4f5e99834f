"""Captions as words, and words as captions: one rule in every runtime.

Words of most scripts are separated by spaces. Han, kana, Thai, Lao, Khmer,
Burmese and their kin write none: there a word is a character with its marks,
a rule that needs no dictionary, whose words would change with its version.
"""

import functools
import re
import unicodedata
from collections.abc import Iterable

# Blocks of scripts without spaces, less their digits; the programs in
# `examples/` hold the same list.
UNSPACED = (
    (0x0E01, 0x0E46),  # Thai
    (0x0E81, 0x0EC6),  # Lao
    (0x0EDC, 0x0EDF),
    (0x1000, 0x103F),  # Burmese
    (0x104C, 0x108F),
    (0x109A, 0x109F),
    (0x1780, 0x17DD),  # Khmer
    (0x1950, 0x19CF),  # Tai Le, New Tai Lue
    (0x1A20, 0x1A7F),  # Tai Tham
    (0x1AA0, 0x1AAF),
    (0x3005, 0x312F),  # iteration marks, kana, bopomofo
    (0x31A0, 0x31FF),
    (0x3400, 0xA4CF),  # Han, Yi
    (0xA9E0, 0xA9EF),  # Burmese
    (0xA9FA, 0xA9FE),
    (0xAA60, 0xAADF),  # and Tai Viet
    (0xF900, 0xFAFF),  # Han
    (0x16FE0, 0x18DFF),  # Tangut, Khitan
    (0x1AFF0, 0x1B2FF),  # kana, Nushu
    (0x20000, 0x3FFFD),  # Han
)
_BLOCKS = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
_ASCII_WORD = re.compile("[a-z0-9]+(?:['-][a-z0-9]+)*")
_APOSTROPHES = str.maketrans("\u2018\u2019\u02bc\uff07", "''''")


@functools.cache
def _expressions() -> tuple[re.Pattern, re.Pattern, re.Pattern]:
    """Returns what finds words, joined words, and letters without spaces.

    Made when first needed, which English words do not.
    """
    # Vowel signs, accents and the like, without which many scripts write no
    # word; not the selectors of an emoji's variant.
    marks = "".join(
        chr(code)
        for code in range(0x20000)
        if unicodedata.category(chr(code)) in ("Mn", "Mc")
        and not 0xFE00 <= code <= 0xFE0F
    )
    blocks = "".join(f"{chr(first)}-{chr(last)}" for first, last in UNSPACED)
    # Vowels of Thai and Lao, written before and after their consonant.
    before, after = "\u0e40-\u0e44\u0ec0-\u0ec4", "ะาำๅະາຳ"
    # What puts the next consonant below: Burmese, Khmer, Tai Tham.
    stacking = "\u1039\u17d2\u1a60"
    letter = rf"(?=\w)(?![{before}{after}])[{blocks}]"
    vowels = re.sub(f"[{stacking}]", "", marks) + after
    # Any row of these is read back as the same characters, as none can end
    # within the next: vowels and stacking signs that are astray are left out.
    character = rf"[{before}]*{letter}(?:[{stacking}]{letter}|[{vowels}])*"
    # Letters, with their marks, and digits of any script; apostrophes and
    # hyphens only inside.
    other = rf"[^\W_{blocks}]"
    word = rf"{other}+(?:['-]{other}+|[{marks}]{other}*)*|{character}"
    joined = rf"{character}|(?:(?!{character})\S)+"
    return tuple(map(re.compile, (word, joined, f"[{blocks}]")))


def words_of(text: str) -> list[str]:
    """Splits a caption into words, the same way everywhere.

    Unicode compatibility forms are unified (NFKC), letters made lower case,
    punctuation dropped. `"A dog's *red* ball."` gives
    `["a", "dog's", "red", "ball"]`, and `"狗在跑。"` `["狗", "在", "跑"]`.
    """
    if text.isascii():
        return _ASCII_WORD.findall(text.lower())
    text = unicodedata.normalize("NFKC", text).lower().translate(_APOSTROPHES)
    text = unicodedata.normalize("NFKC", text)
    # NFKC takes these two vowels apart, which people write as one.
    text = text.replace("\u0e4d\u0e32", "ำ").replace("\u0ecd\u0eb2", "ຳ")
    return _expressions()[0].findall(text)


def is_unspaced(word: str) -> bool:
    """Whether a word is of a script that writes no spaces around words."""
    return not word.isascii() and bool(_expressions()[2].match(word))


def has_unspaced(text: str) -> bool:
    """Whether text has a letter of a script that writes no spaces."""
    return not text.isascii() and bool(_expressions()[2].search(text))


def join_words(words: Iterable[str]) -> str:
    """Writes words as people do: `"a dog"`, but `"3只狗"`."""
    parts, close = [], True
    for word in words:
        unspaced = is_unspaced(word)
        parts.append(word if close or unspaced else f" {word}")
        close = unspaced
    return "".join(parts)


def split_joined(text: str, count: int) -> list[str]:
    """Returns the words that `join_words` wrote, as they were spelled.

    Args:
        text: What it wrote.
        count: How many words there are.
    """
    words = text.split()
    return words if len(words) == count else _expressions()[1].findall(text)
