"""One step of the decoder: attention, gate, LSTM (equations 1 to 6)."""

import keras
from keras import ops

from show_attend_tell.layers.bahdanau_attention import BahdanauAttention
from show_attend_tell.layers.decoder_outputs import DecoderStep
from show_attend_tell.layers.equations import (
    context_gate,
    expected_context,
    lstm_gates,
    lstm_state,
)

GATES = ("scalar", "vector", "none")


@keras.saving.register_keras_serializable(package="show_attend_tell")
class LSTMDecoderCell(keras.layers.Layer):
    """An LSTM cell that attends to an image.

    With the embedding `E y` of the previous word, and `sigma` the logistic
    function (Xu et al. 2015, equations 1 to 3 and section 4.2.1):

        z^, alpha = attention(h_(t-1), annotations)          # eqs. 4 to 6
        beta      = sigma(W_beta h_(t-1) + b_beta)           # the gate
        z         = beta z^
        i, f, g, o = split(E y W_y + b + z W_z + h_(t-1) W_h)      # eq. 1
        c_t = sigma(f) c_(t-1) + sigma(i) tanh(g)                  # eq. 2
        h_t = sigma(o) tanh(c_t)                                   # eq. 3

    The bias of the forget gate starts at one.

    Args:
        units: U, the size of hidden and cell.
        attention_units: A, see `BahdanauAttention`.
        gate: `"scalar"` (the paper's), `"vector"` (one gate for each
            component of the context), or `"none"`.
        temperature: See `BahdanauAttention`.
        attention: A layer that takes the place of `BahdanauAttention`, with
            its `call`. Its `project`, if it has one, makes the keys.
    """

    def __init__(
        self,
        units: int,
        attention_units: int | None = None,
        gate: str = "scalar",
        temperature: float = 1.0,
        attention: keras.layers.Layer | dict | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if units < 1:
            raise ValueError(f"`units` must be positive. Received: {units=}")
        if gate not in GATES:
            raise ValueError(
                f"`gate` must be one of {GATES}. Received: {gate=}"
            )
        if attention is None and attention_units is None:
            raise ValueError(
                "Expected `attention_units` or a layer as `attention`. "
                f"Received: {attention_units=}, {attention=}"
            )
        self.units = units
        self.attention_units = attention_units
        self.gate = gate
        self.temperature = temperature
        self.is_plugged_in = attention is not None
        if attention is None:
            attention = BahdanauAttention(
                attention_units, temperature, name="attention"
            )
        elif isinstance(attention, dict):  # From `get_config`.
            attention = keras.saving.deserialize_keras_object(attention)
        self.attention = attention

    def build(
        self, embedding_shape, hidden_shape, cell_shape, annotations_shape
    ):
        """Creates the weights for `(..., E)`, `(..., U)` and `(N, L, D)`."""
        depth, units = annotations_shape[-1], self.units
        # By a symbolic call, which builds sublayers, too.
        self.attention(
            keras.KerasTensor((None, None, units)),
            keras.KerasTensor((None, *annotations_shape[1:])),
        )
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

    def project(self, annotations):
        """Returns the attention's keys; the annotations if it has none."""
        if hasattr(self.attention, "project"):
            return self.attention.project(annotations)
        return annotations

    def call(
        self,
        embedding,
        hidden,
        cell,
        annotations,
        keys=None,
        mask=None,
        context_weights=None,
    ):
        """Takes one step; returns a `DecoderStep`.

        Args:
            embedding: `E y_(t-1)`, `(N, [K,] E)`.
            hidden: `h_(t-1)`, `(N, [K,] U)`.
            cell: `c_(t-1)`, `(N, [K,] U)`.
            annotations: `(N, L, D)`.
            keys: `project(annotations)`, to compute it once.
            mask: `(N, L)` bool, see `BahdanauAttention`.
            context_weights: A function from the attention `(N, K, L)` to the
                weights that make the context, for hard attention; by default
                it is the expected context.
        """
        if len(hidden.shape) == 2:
            tensors = (ops.expand_dims(x, 1) for x in (embedding, hidden, cell))
            step = self.call(*tensors, annotations, keys, mask, context_weights)
            return DecoderStep(*(ops.squeeze(x, 1) for x in step))
        context, weights, attention = self._attend(
            hidden, annotations, keys, mask, context_weights
        )
        gate = self.open_gate(hidden)
        context = gate * context  # (N, K, D)
        gates = lstm_gates(
            ops.matmul(embedding, self.embedding_kernel)
            + self.bias
            + ops.matmul(context, self.context_kernel)
            + ops.matmul(hidden, self.hidden_kernel)
        )  # (N, K, 4U)
        hidden, cell = lstm_state(gates, cell)
        return DecoderStep(hidden, cell, context, attention, gate, weights)

    def _attend(self, hidden, annotations, keys, mask, context_weights):
        """Returns the context, what weighted it, and the attention."""
        arguments = {} if mask is None else {"mask": mask}
        if keys is not None and hasattr(self.attention, "project"):
            arguments["keys"] = keys
        context, attention = self.attention(hidden, annotations, **arguments)
        attention = ops.cast(attention, "float32")
        weights = attention
        if context_weights is not None:
            weights = context_weights(attention)
            context = expected_context(weights, annotations)
        return ops.cast(context, self.compute_dtype), weights, attention

    def open_gate(self, hidden):
        """Returns `beta_t` (section 4.2.1): how much the context matters."""
        if self.gate == "none":
            return ops.ones_like(hidden[..., :1])
        return context_gate(hidden, self.gate_kernel, self.gate_bias)

    def compute_mask(self, inputs, previous_mask):
        """Returns no mask: that of a call is of locations."""
        return None

    def compute_output_shape(
        self, embedding_shape, hidden_shape, cell_shape, annotations_shape
    ):
        """Returns the shapes of a `DecoderStep`."""
        *batch, _ = hidden_shape
        _, locations, depth = annotations_shape
        return DecoderStep(
            hidden=tuple(hidden_shape),
            cell=tuple(cell_shape),
            context=(*batch, depth),
            attention=(*batch, locations),
            gate=(*batch, depth if self.gate == "vector" else 1),
            context_weights=(*batch, locations),
        )

    def get_config(self):
        """Returns the arguments of the layer."""
        attention = None
        if self.is_plugged_in:
            attention = keras.saving.serialize_keras_object(self.attention)
            attention.pop("build_config", None)  # `build` builds it.
        return {
            **super().get_config(),
            "units": self.units,
            "attention_units": self.attention_units,
            "gate": self.gate,
            "temperature": self.temperature,
            "attention": attention,
        }


def _forget_bias(shape, dtype=None):
    """Zeros, and ones for the forget gate (Jozefowicz et al. 2015)."""
    units = shape[0] // 4
    parts = [ops.zeros(units), ops.ones(units), ops.zeros(2 * units)]
    return ops.cast(ops.concatenate(parts), dtype or "float32")
