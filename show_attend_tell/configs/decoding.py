"""The configuration of decoding."""

import dataclasses

from pipelines.errors import UserError
from pipelines.options import check_options, option

METHODS = ("beam", "greedy", "sample")
CONTEXT_MODES = ("expected", "peak", "sampled")


@dataclasses.dataclass(frozen=True)
class Decoding:
    """How captions are generated.

    A hypothesis is ranked by its score,

        score = log p(words, end) / (number of words + 1) ** length_penalty,

    so that 0 ranks by probability, which favours short captions, and 1 by
    the mean log-probability of a word.

    Constraints (unknown words, lengths, repeated n-grams) mask words and
    leave the probabilities of the others as they are.

    `consensus` reranks that many hypotheses by the captions of similar photos,
    see `inference.reranking.ConsensusReranker`; `length_penalty` is then 1.
    The context modes `"peak"` and `"sampled"` are for hard attention.

    Raises:
        UserError: An option is out of its range.
    """

    method: str = option(
        "beam", "how words are chosen; by default beam search", METHODS
    )
    beam_width: int = option(5, "hypotheses that beam search keeps", "[1, inf)")
    num_captions: int = option(
        1, "captions of each image, the best first", "[1, inf)"
    )
    length_penalty: float = option(
        0.7,
        "hypotheses are ranked by log p / length ** this; with --consensus 1",
        "[0, 10]",
    )
    min_words: int = option(1, "least words of a caption")
    max_words: int = option(30, "most words of a caption", "[1, 1000]")
    no_repeat_ngram_size: int = option(
        0, "no n-gram of this many words is repeated; 0: any may be"
    )
    allow_unknown: bool = option(
        False, "whether captions may have the unknown word"
    )
    temperature: float = option(
        1.0, "sampling divides log-probabilities by it", "(0, inf)"
    )
    top_k: int = option(
        0, "sampling is among this many of the likeliest words; 0: all"
    )
    top_p: float = option(
        1.0,
        "sampling is among the fewest words with this probability",
        "(0, 1]",
    )
    context_mode: str = option(
        "expected",
        "context of a word: the expected annotation, the one at the "
        "attention's peak, or one sampled by it",
        CONTEXT_MODES,
    )
    consensus: int = option(
        0,
        "of so many hypotheses take the one that people's captions of similar "
        "photos agree with; 0: the one that scores best",
    )
    seed: int = option(0, "seed of the samples")

    def __post_init__(self):
        check_options(self)
        if self.min_words > self.max_words:
            raise UserError(
                f"Expected --min_words to lie between 0 and --max_words="
                f"{self.max_words}. Received: min_words={self.min_words}"
            )
        if self.consensus and self.method == "greedy":
            raise UserError(
                "Expected --consensus to be 0 with --method=greedy. "
                f"Received: consensus={self.consensus}"
            )
        width = max(self.beam_width, self.consensus)
        most = {"beam": width, "greedy": 1}.get(self.method)
        if most and self.num_captions > most:
            raise UserError(
                f"Expected --num_captions to be at most {most} with "
                f"--method={self.method} and "
                f"--beam_width={self.beam_width}. "
                f"Received: num_captions={self.num_captions}"
            )

    @property
    def steps(self) -> int:
        """T, the words of the longest caption and its end."""
        return self.max_words + 1

    @property
    def width(self) -> int:
        """W, the hypotheses that are kept for each image."""
        return self.beam_width if self.method == "beam" else self.num_captions

    @property
    def proposing(self) -> "Decoding":
        """The decoding of the hypotheses that consensus chooses from.

        Their score is the mean log-probability of a word, which is added to
        agreements that do not depend on the length either.
        """
        return dataclasses.replace(
            self,
            consensus=0,
            num_captions=max(self.consensus, self.num_captions),
            beam_width=max(self.beam_width, self.consensus),
            length_penalty=1.0,
        )

    @property
    def needs_noise(self) -> bool:
        """Whether anything is sampled."""
        return self.method == "sample" or self.context_mode == "sampled"

    def replace(self, **changes) -> "Decoding":
        """Returns the decoding with some options replaced.

        Another method switches consensus off unless it is asked for.

        Raises:
            UserError: There is no such option, or one is out of its range.
        """
        names = {field.name for field in dataclasses.fields(self)}
        unknown = sorted(set(changes) - names)
        if unknown:
            raise UserError(
                f"Expected options of decoding: {', '.join(sorted(names))}. "
                f"Received: {', '.join(unknown)}"
            )
        if changes.get("method", "beam") != "beam":
            changes = {"consensus": 0, **changes}
        return dataclasses.replace(self, **changes)
