"""Captions as the words that scores compare."""

import dataclasses
import os
import re
from collections.abc import Sequence

from pipelines.words import has_unspaced, words_of
from show_attend_tell.metrics.external_programs import (
    Unavailable,
    pycocoevalcap_folder,
    run_java,
)

PTB = "PTB"
WORDS_OF = "words_of"

# Where the tokenizer ends a line, so that words would go to the next caption.
_LINE_ENDS = re.compile("[\n\r\x0b\x0c\u2028\u2029]")


@dataclasses.dataclass(frozen=True)
class Tokenized:
    """Captions whose words are separated by single spaces.

    Attributes:
        candidates: One for each image.
        references: All of each image.
        tokenizer: `"PTB"` or `"words_of"`.
        reason: Why it is not `"PTB"`; empty if it is.
    """

    candidates: list[str]
    references: list[list[str]]
    tokenizer: str
    reason: str = ""


def tokenize(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Tokenized:
    """Splits captions into words as pycocoevalcap does, where it can.

    That is Stanford's PTB tokenizer in lower case, less punctuation; it runs
    once for all captions. Where pycocoevalcap or Java is missing, words are
    those of `pipelines.words.words_of`, with which figures differ by a
    little: `"a dog's ball (red)"` is `a dog 's ball -lrb- red -rrb-` there
    and `a dog's ball red` here. Captions in scripts without spaces, which the
    PTB tokenizer leaves whole, are always split by `words_of`.
    """
    texts = [text for image in references for text in image]
    texts += candidates
    spaced = [" ".join(words_of(text)) for text in texts]
    try:
        lines, tokenizer, reason = _ptb(texts), PTB, ""
        lines = [
            words if has_unspaced(words) else line
            for words, line in zip(spaced, lines, strict=True)
        ]
    except Unavailable as error:
        lines, tokenizer, reason = spaced, WORDS_OF, str(error)
    rest = iter(lines)
    by_image = [[next(rest) for _ in image] for image in references]
    return Tokenized(list(rest), by_image, tokenizer, reason)


def _ptb(texts: Sequence[str]) -> list[str]:
    folder = pycocoevalcap_folder("tokenizer")
    from pycocoevalcap.tokenizer import ptbtokenizer

    jar = os.path.join(folder, ptbtokenizer.STANFORD_CORENLP_3_4_1_JAR)
    program = "edu.stanford.nlp.process.PTBTokenizer"
    output = run_java(
        "the PTB tokenizer",
        ["-cp", jar, program, "-preserveLines", "-lowerCase"],
        "\n".join(_LINE_ENDS.sub(" ", text) for text in texts),
    )
    lines = output.split("\n")
    if len(lines) != len(texts):
        raise Unavailable(
            f"the PTB tokenizer returned {len(lines)} lines for "
            f"{len(texts)} captions"
        )
    punctuation = set(ptbtokenizer.PUNCTUATIONS)
    return [
        " ".join(word for word in line.split(" ") if word not in punctuation)
        for line in map(str.rstrip, lines)
    ]
