"""The captioner: from the annotations of images to the words of captions."""

import dataclasses
import math
import typing

import keras
from keras import ops

from pipelines.encoders import registry as registry  # Registers their layers.
from show_attend_tell.configs.model import ModelConfig
from show_attend_tell.layers import (
    AttentionSampling,
    DeepOutput,
    InitialState,
    LSTMDecoder,
)


class DecodingState(typing.NamedTuple):
    """The state of the LSTM between words.

    Attributes:
        hidden: `h_t`, `(N, [K,] U)` float32.
        cell: `c_t`, `(N, [K,] U)` float32.
    """

    hidden: typing.Any
    cell: typing.Any


@keras.saving.register_keras_serializable(package="show_attend_tell")
class Captioner(keras.Model):
    """The architecture of Show, Attend and Tell (Xu et al. 2015, section 3).

    Called with teacher forcing, it returns the logits of the T words after the
    start token, for K captions of each of N images:

        captioner = Captioner(ModelConfig(units=256), vocabulary_size=1000)
        outputs = captioner(
            {
                "annotations": np.ones((2, 196, 512), "float32"),
                "tokens": np.ones((2, 5, 12), "int32"),
            }
        )
        outputs["logits"].shape  # (2, 5, 11, 1000)

    To decode, `begin` with the annotations and take a `step` for each word.

    An attention layer that takes the place of `BahdanauAttention`, and how to
    write one, is described in `LSTMDecoder`.

    Shapes: N images, K captions of each, T words, L locations, D annotation
    size, E embedding size, U LSTM units, V words in the vocabulary.

    Args:
        config: The sizes and options of the architecture.
        vocabulary_size: V.
        vocabulary_digest: `Vocabulary.digest` of the words that the numbers
            stand for, so that no other vocabulary is taken for theirs.
        attention: A layer that takes the place of `BahdanauAttention`.
        encoder: The part of the encoder that is fine-tuned, from `(N, L', D')`
            to `(N, rows, columns, D)`. `annotations` are then its inputs,
            `(N, L', D')`.
    """

    def __init__(
        self,
        config: ModelConfig,
        vocabulary_size: int,
        vocabulary_digest: str = "",
        attention: keras.layers.Layer | dict | None = None,
        encoder: keras.Model | None = None,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.config = config
        self.vocabulary_size = vocabulary_size
        self.vocabulary_digest = vocabulary_digest
        self.encoder = encoder
        self.is_encoder_frozen = False
        dtype = {"dtype": self.dtype_policy}
        self.embedding = keras.layers.Embedding(
            vocabulary_size, config.embedding_size, name="embedding", **dtype
        )
        self.initial_state = InitialState(
            config.units,
            config.initial_units,
            config.dropout,
            name="initial_state",
            **dtype,
        )
        self.decoder = LSTMDecoder(
            config.units,
            config.attention_units,
            config.gate,
            config.attention_temperature,
            attention,
            fused=None if config.fused_decoder else False,
            name="decoder",
        )
        self.output_layer = DeepOutput(
            vocabulary_size,
            config.activation,
            config.dropout,
            name="output",
            **dtype,
        )

    def build(self, input_shape):
        """Creates the weights for the shapes of a call's `inputs`."""
        annotations = input_shape["annotations"]
        if self.encoder is not None:
            *_, depth = self.encoder.output_shape
            annotations = (None, self.num_locations(annotations[1]), depth)
        state = (None, None, self.config.units)
        sequence = (None, None, None)  # (N, K, T)
        words = (*sequence, self.config.embedding_size)
        self.embedding.build(sequence)
        self.initial_state.build(annotations)
        self.decoder.build(words, state, state, annotations)
        self.output_layer.build(
            words, (*sequence, state[-1]), (*sequence, annotations[-1])
        )
        self.built = True

    def call(
        self,
        inputs,
        training=None,
        sampling: AttentionSampling | None = None,
    ):
        """Returns logits and attention for given previous words.

        Args:
            inputs: `{"annotations": (N, L, D) float, "tokens": (N, K, T + 1)
                int}`, tokens from the start token on, padded with 0. The last
                is not read.
            training: Whether to drop units.
            sampling: The randomness of hard attention; soft without.

        Returns:
            `{"logits": (N, K, T, V), "attention": (N, K, T, L) float32,
            "context_weights": (N, K, T, L) float32}`: what weighted the
            annotations, the attention or one at a sampled location.
        """
        annotations = self.annotation_scale * ops.cast(
            self._encode(inputs["annotations"], training), self.compute_dtype
        )
        words = self.embedding(inputs["tokens"][:, :, :-1])  # (N, K, T, E)
        shape = (*ops.shape(words)[:2], self.config.units)
        hidden, cell = (  # (N, K, U)
            ops.broadcast_to(ops.expand_dims(state, 1), shape)
            for state in self.initial_state(annotations, training=training)
        )
        decoded = self.decoder(
            words, hidden, cell, annotations, sampling=sampling
        )
        logits = self.output_layer(
            words, decoded.hidden, decoded.context, training=training
        )
        return {
            "logits": logits,
            "attention": decoded.attention,
            "context_weights": decoded.context_weights,
        }

    @property
    def annotation_scale(self) -> float:
        """What annotations are multiplied by on entry."""
        return self.config.annotation_scale or 1.0

    @annotation_scale.setter
    def annotation_scale(self, scale: float):
        self.config = dataclasses.replace(self.config, annotation_scale=scale)

    def grid(self, cached_grid: tuple[int, int]) -> tuple[int, int]:
        """Returns rows and columns of the attention, given those cached."""
        if self.encoder is None:
            return tuple(cached_grid)
        return self.encoder.output_shape[1:3]

    def num_locations(self, cached_locations):
        """Returns L, given the number of cached locations."""
        if self.encoder is None:
            return cached_locations
        return math.prod(self.grid(()))

    def _encode(self, annotations, training=None):
        """Returns `(N, L, D)`, through the fine-tuned encoder if there is."""
        if self.encoder is None:
            return annotations
        training = training and not self.is_encoder_frozen
        features = self.encoder(annotations, training=training)
        if self.is_encoder_frozen:
            features = ops.stop_gradient(features)
        rows, columns, depth = features.shape[1:]
        return ops.reshape(features, (-1, rows * columns, depth))

    def begin(self, annotations):
        """Starts captions of `(N, L, D)` annotations, as given to a call.

        Returns:
            The `DecodingState`, the scaled annotations `(N, L, D)` and their
            keys, which every `step` needs.
        """
        return self.start(self.encode(annotations))

    def encode(self, annotations):
        """Returns what the decoder attends to, unscaled, `(N, L, D)` float32.

        Only a fine-tuned encoder makes a difference.
        """
        return ops.cast(self._encode(annotations, training=False), "float32")

    def start(self, encoded):
        """Starts captions of what `encode` returned; see `begin`."""
        annotations = self.annotation_scale * encoded
        keys = self.decoder.project(annotations)
        hidden, cell = self.initial_state(annotations, training=False)
        # In mixed precision the state is float32 from the start, as later.
        state = DecodingState(
            ops.cast(hidden, "float32"), ops.cast(cell, "float32")
        )
        return state, annotations, keys

    def step(self, token, state, annotations, keys, context_weights=None):
        """Takes one step of each caption.

        Args:
            token: The previous words, `(N,)` or `(N, K)` int.
            state: A `DecodingState`.
            annotations: As `begin` returned.
            keys: As `begin` returned.
            context_weights: A function from the attention `(N, K, L)` to the
                weights that make the context; by default the attention.

        Returns:
            The logits of the next word `(N, [K,] V)`, the next state, the
            attention `(N, [K,] L)`, and the gate `(N, [K,] 1)` or
            `(N, [K,] D)`.
        """
        embedding = self.embedding(token)
        step = self.decoder.step(
            ops.cast(embedding, "float32"),
            *state,
            annotations,
            keys,
            context_weights=context_weights,
        )
        logits = self.output_layer(
            embedding, step.hidden, step.context, training=False
        )
        state = DecodingState(step.hidden, step.cell)
        return logits, state, step.attention, step.gate

    def get_config(self):
        """Returns the arguments of the captioner."""
        return {
            **super().get_config(),
            "config": dataclasses.asdict(self.config),
            "vocabulary_size": self.vocabulary_size,
            "vocabulary_digest": self.vocabulary_digest,
            "attention": self.decoder.get_config()["attention"],
            "encoder": keras.saving.serialize_keras_object(self.encoder),
        }

    @classmethod
    def from_config(cls, config):
        """Rebuilds the captioner from what `get_config` returned."""
        encoder = keras.saving.deserialize_keras_object(config["encoder"])
        architecture = ModelConfig(**config["config"])
        return cls(**{**config, "config": architecture, "encoder": encoder})
