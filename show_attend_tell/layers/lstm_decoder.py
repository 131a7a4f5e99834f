"""The decoder run over complete captions, as training needs it."""

import keras
from keras import ops

from show_attend_tell.layers import fused_decoder
from show_attend_tell.layers.bahdanau_attention import BahdanauAttention
from show_attend_tell.layers.decoder_outputs import DecodedSequence, DecoderStep
from show_attend_tell.layers.location_sampling import sample_locations
from show_attend_tell.layers.lstm_decoder_cell import LSTMDecoderCell


@keras.saving.register_keras_serializable(package="show_attend_tell")
class LSTMDecoder(keras.layers.Layer):
    """Runs an `LSTMDecoderCell` over the words of K captions an image.

    On TensorFlow with `BahdanauAttention` the backward pass is written by hand
    and compiled by XLA, several times faster (see `fused_decoder`); otherwise
    the cell runs in a scan that the backend differentiates. The numbers are
    the same. It computes in float32 under any policy.

    Any layer with the call of `BahdanauAttention` can take its place:

        class DotProductAttention(keras.layers.Layer):
            def __init__(self, size, **kwargs):
                super().__init__(**kwargs)
                self.size = size
                self.query = keras.layers.Dense(size)

            def call(self, hidden, annotations):
                energies = self.query(hidden) @ ops.swapaxes(annotations, 1, 2)
                attention = ops.softmax(energies / self.size**0.5)
                return attention @ annotations, attention

            def get_config(self):
                return {**super().get_config(), "size": self.size}

        decoder = LSTMDecoder(units=512, attention=DotProductAttention(512))

    Args:
        units: U, see `LSTMDecoderCell`.
        attention_units: A, see `BahdanauAttention`.
        gate: See `LSTMDecoderCell`.
        temperature: See `BahdanauAttention`.
        attention: See `LSTMDecoderCell`.
        fused: `None` uses the backward pass written by hand where it can,
            `False` never, and `True` raises an error where it cannot.
    """

    def __init__(
        self,
        units: int,
        attention_units: int | None = None,
        gate: str = "scalar",
        temperature: float = 1.0,
        attention: keras.layers.Layer | dict | None = None,
        fused: bool | None = None,
        **kwargs,
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.cell = LSTMDecoderCell(
            units,
            attention_units,
            gate,
            temperature,
            attention,
            name="cell",
            dtype="float32",
        )
        self.fused = fused
        self.jit_compile = True  # Of the fused loop, inside a `tf.function`.

    def build(
        self, embedding_shape, hidden_shape, cell_shape, annotations_shape
    ):
        """Creates the weights of the cell."""
        self.cell.build(
            embedding_shape, hidden_shape, cell_shape, annotations_shape
        )

    def call(
        self, embedding, hidden, cell, annotations, mask=None, sampling=None
    ):
        """Decodes with the given words as the previous ones.

        Returns a `DecodedSequence`.

        Args:
            embedding: `E y_(t-1)` of every step, `(N, K, T, E)`.
            hidden: `h_0`, `(N, K, U)`.
            cell: `c_0`, `(N, K, U)`.
            annotations: `(N, L, D)`.
            mask: `(N, L)` bool, see `BahdanauAttention`.
            sampling: `AttentionSampling`, for hard attention.
        """
        words = ops.transpose(embedding, (2, 0, 1, 3))  # (T, N, K, E)
        inputs = (words, hidden, cell, annotations)
        if self._is_fused(mask):
            outputs = fused_decoder.decode_words(
                self.cell, *inputs, sampling, self.jit_compile
            )
        else:
            outputs = self._scan(*inputs, mask, sampling)
        return DecodedSequence(
            *(ops.transpose(x, (1, 2, 0, 3)) for x in outputs)
        )

    def _is_fused(self, mask) -> bool:
        possible = (
            keras.backend.backend() == "tensorflow"
            and type(self.cell.attention) is BahdanauAttention
            and mask is None
        )
        if self.fused and not possible:
            raise ValueError(
                "Expected the TensorFlow backend, BahdanauAttention and no "
                "mask with `fused=True`. Received: "
                f"backend={keras.backend.backend()}, "
                f"attention={self.cell.attention}, {mask=}"
            )
        return possible and self.fused is not False

    def _scan(self, words, hidden, cell, annotations, mask, sampling):
        """Runs the cell step by step; returns tensors with time first.

        A step is both what is carried on and the result: on TensorFlow
        `ops.scan` wants the two to be of the same shapes.
        """
        keys = self.cell.project(annotations)

        def step(before: DecoderStep, inputs):
            embedding, *noise = inputs

            def sample(attention):
                return sample_locations(
                    attention, *noise, sampled, gumbel_temperature
                )

            now = self.cell(
                embedding,
                before.hidden,
                before.cell,
                annotations,
                keys=keys,
                mask=mask,
                context_weights=sample if noise else None,
            )
            return now, now

        inputs = [words]
        if sampling is not None:
            inputs.append(sampling.noise)
            sampled = sampling.sampled
            gumbel_temperature = sampling.gumbel_temperature
        start = self._start(hidden, cell, annotations)
        _, steps = ops.scan(step, start, inputs)
        return (
            steps.hidden,
            steps.context,
            steps.attention,
            steps.gate,
            ops.stop_gradient(steps.context_weights),
        )

    def _start(self, hidden, cell, annotations) -> DecoderStep:
        """Returns `h_0` and `c_0` as a step, its other parts zero."""
        shapes = self.cell.compute_output_shape(
            None, ops.shape(hidden), ops.shape(cell), ops.shape(annotations)
        )
        zeros = DecoderStep(*(ops.zeros(x, hidden.dtype) for x in shapes))
        return zeros._replace(hidden=hidden, cell=cell)

    def project(self, annotations):
        """Returns the keys that every `step` needs: once an image."""
        return self.cell.project(annotations)

    def step(
        self,
        embedding,
        hidden,
        cell,
        annotations,
        keys,
        context_weights=None,
        mask=None,
    ) -> DecoderStep:
        """Takes one step, with `keys` from `project`; see `LSTMDecoderCell`."""
        return self.cell(
            embedding,
            hidden,
            cell,
            annotations,
            keys=keys,
            mask=mask,
            context_weights=context_weights,
        )

    def compute_mask(self, inputs, previous_mask):
        """Returns no mask: that of a call is of locations."""
        return None

    def compute_output_shape(
        self, embedding_shape, hidden_shape, cell_shape, annotations_shape
    ):
        """Returns the shapes of a `DecodedSequence`."""
        step = self.cell.compute_output_shape(
            embedding_shape, hidden_shape, cell_shape, annotations_shape
        )
        steps = embedding_shape[2]
        return DecodedSequence(
            *(
                (*getattr(step, name)[:2], steps, getattr(step, name)[2])
                for name in DecodedSequence._fields
            )
        )

    def get_config(self):
        """Returns the arguments of the layer."""
        config = self.cell.get_config()
        names = ("units", "attention_units", "gate", "temperature", "attention")
        return {
            **super().get_config(),
            **{name: config[name] for name in names},
            "fused": self.fused,
        }
