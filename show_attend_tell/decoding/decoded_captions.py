"""The result of decoding."""

import typing


class DecodedCaptions(typing.NamedTuple):
    """H captions of each of N images, of at most T steps.

    Attributes:
        tokens: `(N, H, T)` int32; after the end token, padding.
        lengths: `(N, H)` int32, words without the end token.
        finished: `(N, H)` bool, whether the end token was reached.
        log_probability: `(N, H)` float32, natural logarithm, of the words
            and the end token.
        score: `(N, H)` float32, what ranks hypotheses, see `Decoding`.
        attention: `(N, H, T, L)` float32; zero after the end token.
        gate: `(N, H, T)` float32, the mean of a vector gate.
        locations: `(N, H, T)` int32, the location that made the context of a
            word, -1 where it was all of them or there is no word.
    """

    tokens: typing.Any
    lengths: typing.Any
    finished: typing.Any
    log_probability: typing.Any
    score: typing.Any
    attention: typing.Any
    gate: typing.Any
    locations: typing.Any
