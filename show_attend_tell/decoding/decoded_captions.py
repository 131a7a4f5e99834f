"""The captions that decoding returns, as tensors."""

import typing


class DecodedCaptions(typing.NamedTuple):
    """H captions of each of N images, of at most T steps."""

    tokens: typing.Any  # (N, H, T) int32; after the end token, padding
    lengths: typing.Any  # (N, H) int32: words without the end token
    finished: typing.Any  # (N, H) bool: whether the end token was reached
    log_probability: typing.Any  # (N, H) float32: of the words and the end
    score: typing.Any  # (N, H) float32: ranks hypotheses, see `Decoding`
    attention: typing.Any  # (N, H, T, L) float32; zero after the end token
    gate: typing.Any  # (N, H, T) float32: the mean of a vector gate
    # (N, H, T) int32: the location that made the context of a word; -1 where it
    # was all of them or there is no word.
    locations: typing.Any
