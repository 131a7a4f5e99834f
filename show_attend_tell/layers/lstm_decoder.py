"""The decoder over whole captions, for training."""

import typing

import keras
from keras import ops

from show_attend_tell.layers import fused_decoder as recurrence
from show_attend_tell.layers.lstm_decoder_cell import (
    DecoderStep,
    LSTMDecoderCell,
)


class DecodedSequence(typing.NamedTuple):
    """What the decoder did for every word of every caption.

    Attributes:
        hidden: `h_t`, `(N, K, T, U)`.
        context: The gated contexts `z_t`, `(N, K, T, D)`.
        attention: `alpha_t`, `(N, K, T, L)`.
        gate: `beta_t`, `(N, K, T, 1)`, or `(N, K, T, D)`.
        looking: What weighted the annotations, `(N, K, T, L)`: the attention,
            or one at the place that was drawn.
    """

    hidden: typing.Any
    context: typing.Any
    attention: typing.Any
    gate: typing.Any
    looking: typing.Any


@keras.saving.register_keras_serializable(package="show_attend_tell")
class LSTMDecoder(keras.layers.Layer):
    """Runs an `LSTMDecoderCell` over the words of K captions an image.

    The same mathematics as the cell called T times, several times faster:
    annotations are projected once an image, embeddings once a batch, and the
    backward pass is written out (see `recurrence`). It computes in float32
    under any policy.

    Args:
        units: U, see `LSTMDecoderCell`.
        attention_units: A, see `BahdanauAttention`.
        gate: See `LSTMDecoderCell`.
        temperature: See `BahdanauAttention`.
        gumbel_temperature: Of hard attention, see `recurrence.unroll`.
    """

    def __init__(
        self,
        units: int,
        attention_units: int,
        gate: str = "scalar",
        temperature: float = 1.0,
        gumbel_temperature: float = 0.0,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.gumbel_temperature = gumbel_temperature
        # Replaceable by a compiled version of the same function.
        self.unroll = recurrence.unroll
        self.cell = LSTMDecoderCell(
            units,
            attention_units,
            gate,
            temperature,
            name="cell",
            dtype="float32",
        )

    def build(
        self, embedding_shape, hidden_shape, cell_shape, annotations_shape
    ):
        """Creates the weights of the cell."""
        self.cell.build(
            embedding_shape, hidden_shape, cell_shape, annotations_shape
        )

    def call(self, embedding, hidden, cell, annotations, draws=None):
        """Decodes with the given words as the previous ones.

        Args:
            embedding: `E y_(t-1)` of every step, `(N, K, T, E)`.
            hidden: `h_0`, `(N, K, U)`.
            cell: `c_0`, `(N, K, U)`.
            annotations: `(N, L, D)`.
            draws: `recurrence.Draws` for hard attention.

        Returns:
            A `DecodedSequence`.
        """
        words = ops.transpose(embedding, (2, 0, 1, 3))  # (T, N, K, E)
        # A custom gradient must not see variables.
        weights = (ops.copy(weight) for weight in self._weights_of_the_loop())
        run = self.unroll(
            ops.matmul(words, self.cell.embedding_kernel) + self.cell.bias,
            hidden,
            cell,
            annotations,
            self.cell.attention.project(annotations),
            recurrence.Weights(*weights),
            draws,
            self.gumbel_temperature,
        )
        return DecodedSequence(*(ops.transpose(x, (1, 2, 0, 3)) for x in run))

    def project(self, annotations):
        """Returns what every `step` needs of the annotations, `(N, L, A)`."""
        keys = self.cell.attention.project(annotations)
        return recurrence.exponential(keys)

    def step(
        self,
        embedding,
        hidden,
        cell,
        annotations,
        projected,
        look=lambda attention: attention,
    ):
        """Takes one step, to decode with words that are not yet known.

        Args:
            embedding: `E y_(t-1)`, `(N, [K,] E)`.
            hidden: `h_(t-1)`, `(N, [K,] U)`.
            cell: `c_(t-1)`, `(N, [K,] U)`.
            annotations: `(N, L, D)`.
            projected: `project(annotations)`.
            look: Takes the attention `(N, K, L)` and returns the weights
                that make the context.

        Returns:
            A `DecoderStep`.
        """
        alone = len(hidden.shape) == 2
        embedding, hidden, cell = (
            ops.expand_dims(x, 1) if alone else x
            for x in (embedding, hidden, cell)
        )
        step = recurrence.step(
            ops.matmul(embedding, self.cell.embedding_kernel) + self.cell.bias,
            hidden,
            cell,
            annotations,
            projected,
            self._weights_of_the_loop(),
            look,
        )
        if alone:
            step = DecoderStep(*(ops.squeeze(x, 1) for x in step))
        return step

    def _weights_of_the_loop(self):
        cell, attention = self.cell, self.cell.attention
        if cell.gate == "none":  # sigmoid(0 h + 40) = 1 in float32
            gate_kernel = ops.zeros((cell.units, 1))
            gate_bias = ops.full((1,), 40.0)
        else:
            gate_kernel, gate_bias = cell.gate_kernel, cell.gate_bias
        return recurrence.Weights(
            query_kernel=attention.hidden_kernel,
            query_bias=attention.bias,
            energy_kernel=attention.energy_kernel / attention.temperature,
            gate_kernel=gate_kernel,
            gate_bias=gate_bias,
            context_kernel=cell.context_kernel,
            hidden_kernel=cell.hidden_kernel,
        )

    def get_config(self):
        """Returns what rebuilds the layer."""
        return {
            **super().get_config(),
            "units": self.cell.units,
            "attention_units": self.cell.attention.units,
            "gate": self.cell.gate,
            "temperature": self.cell.attention.temperature,
            "gumbel_temperature": self.gumbel_temperature,
        }
