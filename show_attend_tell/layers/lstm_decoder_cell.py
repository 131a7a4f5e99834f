"""One step of the decoder: attend, gate, remember (eqs. 1-3, section 4)."""

import typing

import keras
from keras import ops

from show_attend_tell.layers.bahdanau_attention import BahdanauAttention

GATES = ("scalar", "vector", "none")


class DecoderStep(typing.NamedTuple):
    """What one step of the decoder gives.

    Attributes:
        hidden: `h_t`, `(N, [K,] U)`.
        cell: `c_t`, `(N, [K,] U)`.
        context: The gated context `z_t`, `(N, [K,] D)`.
        attention: `alpha_t`, `(N, [K,] L)`, float32.
        gate: `beta_t`, `(N, [K,] 1)`, or `(N, [K,] D)` for a vector gate.
    """

    hidden: typing.Any
    cell: typing.Any
    context: typing.Any
    attention: typing.Any
    gate: typing.Any


@keras.saving.register_keras_serializable(package="show_attend_tell")
class LSTMDecoderCell(keras.layers.Layer):
    """An LSTM cell that looks at the image before it remembers.

    With the embedding `E y` of the previous word, and `sigma` the logistic
    function (Xu et al. 2015, equations 1 to 3 and section 4.2.1):

        alpha, z^ = attention(h_(t-1), annotations)
        beta      = sigma(w . h_(t-1) + b_beta)       # the gate: a scalar
        z         = beta z^
        i, f, c~, o = split(E y W_y + z W_z + h_(t-1) W_h + b)     # eq. 1
        c_t = sigma(f) c_(t-1) + sigma(i) tanh(c~)                 # eq. 2
        h_t = sigma(o) tanh(c_t)                                   # eq. 3

    The bias of the forget gate starts at one.

    Args:
        units: U, the size of hidden and cell.
        attention_units: A, see `BahdanauAttention`.
        gate: `"scalar"` (the paper's), `"vector"` (one gate for each
            component of the context), or `"none"`.
        temperature: See `BahdanauAttention`.
    """

    def __init__(
        self,
        units: int,
        attention_units: int,
        gate: str = "scalar",
        temperature: float = 1.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"`units` must be positive. Received: {units=}")
        if gate not in GATES:
            raise ValueError(
                f"`gate` must be one of {GATES}. Received: {gate=}"
            )
        self.units = units
        self.gate = gate
        self.attention = BahdanauAttention(
            attention_units,
            temperature,
            name="attention",
            dtype=self.dtype_policy,
        )

    def build(
        self, embedding_shape, hidden_shape, cell_shape, annotations_shape
    ):
        """Creates the weights for `(..., E)`, `(..., U)` and `(N, L, D)`."""
        depth, units = annotations_shape[-1], self.units
        self.attention.build(hidden_shape, annotations_shape)
        self.embedding_kernel = self.add_weight(
            name="embedding_kernel", shape=(embedding_shape[-1], 4 * units)
        )
        self.context_kernel = self.add_weight(
            name="context_kernel", shape=(depth, 4 * units)
        )
        self.hidden_kernel = self.add_weight(
            name="hidden_kernel",
            shape=(units, 4 * units),
            initializer="orthogonal",
        )
        self.bias = self.add_weight(
            name="bias", shape=(4 * units,), initializer=_forget_bias
        )
        if self.gate != "none":
            gate_size = 1 if self.gate == "scalar" else depth
            self.gate_kernel = self.add_weight(
                name="gate_kernel", shape=(units, gate_size)
            )
            self.gate_bias = self.add_weight(
                name="gate_bias", shape=(gate_size,), initializer="zeros"
            )

    def open_gate(self, hidden):
        """Returns `beta_t`: how much of the image the next word needs."""
        if self.gate == "none":
            return ops.ones_like(hidden[..., :1])
        return ops.sigmoid(
            ops.matmul(hidden, self.gate_kernel) + self.gate_bias
        )

    def remember(self, preactivations, cell):
        """Returns `h_t` and `c_t` (equations 2 and 3)."""
        into, forget, new, out = ops.split(preactivations, 4, axis=-1)
        cell = ops.sigmoid(forget) * cell + ops.sigmoid(into) * ops.tanh(new)
        return ops.sigmoid(out) * ops.tanh(cell), cell

    def call(self, embedding, hidden, cell, annotations, keys=None):
        """Takes one step.

        Args:
            embedding: `E y_(t-1)`, `(N, [K,] E)`.
            hidden: `h_(t-1)`, `(N, [K,] U)`.
            cell: `c_(t-1)`, `(N, [K,] U)`.
            annotations: `(N, L, D)`.
            keys: `attention.project(annotations)`, to save the work.

        Returns:
            A `DecoderStep`.
        """
        context, attention = self.attention(hidden, annotations, keys)
        gate = self.open_gate(hidden)
        context = gate * context
        preactivations = (
            ops.matmul(embedding, self.embedding_kernel)
            + ops.matmul(context, self.context_kernel)
            + ops.matmul(hidden, self.hidden_kernel)
            + self.bias
        )
        hidden, cell = self.remember(preactivations, cell)
        return DecoderStep(hidden, cell, context, attention, gate)

    def get_config(self):
        """Returns what rebuilds the cell."""
        return {
            **super().get_config(),
            "units": self.units,
            "attention_units": self.attention.units,
            "gate": self.gate,
            "temperature": self.attention.temperature,
        }


def _forget_bias(shape, dtype=None):
    """Zeros, and ones for the forget gate (Jozefowicz et al. 2015)."""
    units = shape[0] // 4
    parts = [ops.zeros(units), ops.ones(units), ops.zeros(2 * units)]
    return ops.cast(ops.concatenate(parts), dtype or "float32")
