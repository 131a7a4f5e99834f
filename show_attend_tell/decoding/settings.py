"""How captions are to be said, and what comes of it."""

import dataclasses

from pipelines.errors import UserError

METHODS = ("beam", "greedy", "sample")
CONTEXT_MODES = ("expected", "peak", "sampled")


@dataclasses.dataclass(frozen=True)
class Decoding:
    """The settings of decoding.

    A hypothesis is ranked by its score,

        score = log p(words, end) / (number of words + 1) ** length_penalty,

    so that 0 ranks by probability, which favours short captions, and 1 by
    the mean log-probability of a word.

    Constraints (unknown words, lengths, repeated n-grams) take words away
    from the choice and leave the probabilities of the others as they are.

    Attributes:
        method: `"beam"`, `"greedy"` (the likeliest word at every step) or
            `"sample"`.
        beam_width: W, the hypotheses that beam search carries on.
        num_captions: H, how many captions of an image are returned, the best
            first; samples come as they were drawn. Greedy has one.
        length_penalty: See above.
        min_words: No caption ends before.
        max_words: No caption goes on after; one that has not ended by then
            is returned as it is, marked as not finished.
        no_repeat_ngram_size: n, no n-gram of words comes twice; 0 for any.
        allow_unknown: Whether the unknown word may be said.
        temperature: Sampling divides log-probabilities by it.
        top_k: Sampling takes the k likeliest words alone; 0 for all.
        top_p: Sampling takes the fewest likeliest words that together have
            this probability.
        context_mode: What each word is said from: `"expected"`, the annotations
            weighted by the attention; `"peak"`, the one with most attention;
            or `"sampled"`, one that is drawn by the attention. The last two
            are for hard attention.
        consensus: Of how many hypotheses captions are chosen by those of
            similar photos, see `consensus.ConsensusReranker`; 0 for none, where they
            are ranked by their score. `length_penalty` is then 1.
        seed: Of the samples and of the draws.
    """

    method: str = "beam"
    beam_width: int = 5
    num_captions: int = 1
    length_penalty: float = 0.7
    min_words: int = 1
    max_words: int = 30
    no_repeat_ngram_size: int = 0
    allow_unknown: bool = False
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    context_mode: str = "expected"
    consensus: int = 0
    seed: int = 0

    def __post_init__(self):
        checks = {
            "method": self.method in METHODS,
            "beam_width": self.beam_width >= 1,
            "num_captions": self.num_captions >= 1,
            "length_penalty": 0 <= self.length_penalty <= 10,
            "max_words": 1 <= self.max_words <= 1000,
            "min_words": 0 <= self.min_words <= self.max_words,
            "no_repeat_ngram_size": self.no_repeat_ngram_size >= 0,
            "temperature": 0 < self.temperature < float("inf"),
            "top_k": self.top_k >= 0,
            "top_p": 0 < self.top_p <= 1,
            "context_mode": self.context_mode in CONTEXT_MODES,
            "consensus": self.consensus >= 0
            and (self.method != "greedy" or not self.consensus),
            "seed": self.seed >= 0,
        }
        for name, right in checks.items():
            if not right:
                raise UserError(
                    f"Expected --{name} {_EXPECTED[name]}. "
                    f"Received: {name}={getattr(self, name)!r}"
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
        """W, the hypotheses that are carried on for each image."""
        return self.beam_width if self.method == "beam" else self.num_captions

    @property
    def proposing(self) -> "Decoding":
        """How the hypotheses are said that consensus chooses from.

        Their score is the mean log-probability of a word, which is weighed
        beside agreements that know no length either.
        """
        count = max(self.consensus, self.num_captions)
        width = max(self.beam_width, self.consensus)
        return dataclasses.replace(
            self,
            consensus=0,
            num_captions=count,
            beam_width=width,
            length_penalty=1.0,
        )

    @property
    def needs_noise(self) -> bool:
        """Whether anything is left to chance."""
        return self.method == "sample" or self.context_mode == "sampled"


_EXPECTED = {
    "method": f"to be one of {', '.join(METHODS)}",
    "beam_width": "to be at least 1",
    "num_captions": "to be at least 1",
    "length_penalty": "to lie in [0, 10]",
    "min_words": "to lie between 0 and --max_words",
    "max_words": "to lie in [1, 1000]",
    "no_repeat_ngram_size": "not to be negative",
    "temperature": "to be positive and finite",
    "top_k": "not to be negative",
    "top_p": "to lie in (0, 1]",
    "context_mode": f"to be one of {', '.join(CONTEXT_MODES)}",
    "consensus": "not to be negative, and 0 with --method=greedy",
    "seed": "not to be negative",
}


def changed(decoding: Decoding, changes: dict) -> Decoding:
    """Returns the settings with others in their place.

    A consensus that is not asked for is among beams alone: whoever changes
    the method wants what it says.

    Raises:
        UserError: There is no such setting, or one is out of range.
    """
    names = {field.name for field in dataclasses.fields(Decoding)}
    unknown = sorted(set(changes) - names)
    if unknown:
        raise UserError(
            f"Expected settings of decoding: {', '.join(sorted(names))}. "
            f"Received: {', '.join(unknown)}"
        )
    if changes.get("method", "beam") != "beam":
        changes = {"consensus": 0, **changes}
    return dataclasses.replace(decoding, **changes)
