"""Named tuples of the decoder's outputs, for one word and for captions."""

import typing


class DecoderStep(typing.NamedTuple):
    """The results of one step of the decoder.

    Attributes:
        hidden: `h_t`, `(N, [K,] U)`.
        cell: `c_t`, `(N, [K,] U)`.
        context: The gated context `z_t`, `(N, [K,] D)`.
        attention: `alpha_t`, `(N, [K,] L)`, float32.
        gate: `beta_t`, `(N, [K,] 1)`, or `(N, [K,] D)` for a vector gate.
        context_weights: What weighted the annotations, `(N, [K,] L)`: the
            attention, or one at a sampled location.
    """

    hidden: typing.Any
    cell: typing.Any
    context: typing.Any
    attention: typing.Any
    gate: typing.Any
    context_weights: typing.Any


class DecodedSequence(typing.NamedTuple):
    """The results of the decoder for every word of every caption.

    Attributes:
        hidden: `h_t`, `(N, K, T, U)`.
        context: The gated contexts `z_t`, `(N, K, T, D)`.
        attention: `alpha_t`, `(N, K, T, L)`.
        gate: `beta_t`, `(N, K, T, 1)`, or `(N, K, T, D)`.
        context_weights: See `DecoderStep`, `(N, K, T, L)`. No gradient flows
            through it.
    """

    hidden: typing.Any
    context: typing.Any
    attention: typing.Any
    gate: typing.Any
    context_weights: typing.Any
