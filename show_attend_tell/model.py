"""The captioner: annotations in, words out."""

import contextlib
import typing

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from pipelines.vocabulary import PADDING
from show_attend_tell.layers import (
    DeepOutput,
    DoublyStochasticRegularizer,
    InitialState,
    LSTMDecoder,
)
from show_attend_tell.objectives.hard_attention import HardAttention
from show_attend_tell.objectives.likelihood import caption_nll, smoothing
from show_attend_tell.objectives.replicas import at_once, total
from show_attend_tell.objectives.scheduled_sampling import ScheduledSampling
from show_attend_tell.training.optimizer_step import take_step
from show_attend_tell.training.weight_average import WeightAverage

ATTENTIONS = ("soft", "hard")


class DecodingState(typing.NamedTuple):
    """What the decoder carries from word to word.

    Attributes:
        hidden: `(N, [K,] U)`.
        cell: `(N, [K,] U)`.
    """

    hidden: typing.Any
    cell: typing.Any


@keras.saving.register_keras_serializable(package="show_attend_tell")
class Captioner(keras.Model):
    """Show, Attend and Tell with soft or hard attention (Xu et al. 2015).

    Called with teacher forcing: `{"annotations": (N, L, D) float,
    "tokens": (N, K, T + 1) int}`, K captions for each of N images, from the
    start token on, padded with 0. It then returns the logits of the T words
    that follow, `(N, K, T, V)`, and the attention `(N, K, T, L)`.

    With hard attention (section 4.1) a place is drawn at every step in
    training, for a part of the images; others see the expectation, as all do
    with soft attention. The loss of a caption is then

        nll + reinforce_weight stop(R - b) sum_t log alpha_t[s_t]
            + entropy_weight sum_t,i alpha_ti log alpha_ti

    where `R` is the caption's negative log-likelihood and `b` its moving
    average, `b_k = 0.9 b_(k-1) + 0.1 R_k`, the middle term only where locations
    were drawn.

    To decode, `begin` with the annotations and take a `step` a word.

    Args:
        vocabulary_size: V.
        embedding_size: E.
        units: U, the size of the LSTM.
        attention_units: A.
        gate: `"scalar"` (the paper's), `"vector"` or `"none"`.
        initial_units: Size of the hidden layer of the initial state; 0 for
            none.
        activation: Of the deep output, `"tanh"` or `"linear"`.
        dropout: At the paper's three locations.
        regularizer_weight: Lambda of the doubly stochastic penalty.
        regularizer_normalization: `"sum"` (the paper's) or `"mean"`.
        annotation_scale: What annotations are multiplied by on entry, to
            bring them near one.
        vocabulary_digest: `Vocabulary.digest` of the words that it was
            trained with, so that no others are taken for them.
        attention: `"soft"` or `"hard"`.
        attention_temperature: What energies are divided by.
        soft_attention_probability: Hard: the probability that an image sees the
            expectation in a step of training.
        reinforce_weight: Hard: lambda_r.
        entropy_weight: Hard: lambda_e.
        baseline_decay: Hard: the part of `b` that stays.
        reinforce_scale: Hard: `"caption"`, the loss above, mean over the
            batch; or `"released"`, that of the authors' code: `R` is the
            mean over the caption's words, and the last two terms are summed
            over the batch.
        attention_samples: Hard: locations are drawn so many times for each
            caption; from two on, `b` is the mean of the other samples.
        gumbel_temperature: Hard: temperature of straight-through Gumbel (Jang et al.
            2017), which takes the place of REINFORCE; 0 for REINFORCE.
        label_smoothing: The share of each word's probability that the loss
            spreads over all words, see `losses.smoothing`. The metric
            `nll_per_word` and the reward of hard attention know nothing of
            it.
        scheduled_sampling: The probability in training that a previous word
            is replaced by one that the model draws, see `ScheduledSampling`.
        ema: Momentum of the `WeightAverage` that is kept while training; 0
            for none.
        encoder: A part of the encoder that learns, `(N, L', D')` to `(N,
            rows, columns, D)`. The annotations that the model is then given
            are this part's inputs.
        encoder_learning_rate_multiplier: The encoder's learning rate, as a part of the
            optimizer's.
        encoder_start: The encoder learns from this step of the optimizer on.
    """

    def __init__(
        self,
        vocabulary_size: int,
        embedding_size: int = 512,
        units: int = 512,
        attention_units: int = 512,
        gate: str = "scalar",
        initial_units: int = 512,
        activation: str = "tanh",
        dropout: float = 0.5,
        regularizer_weight: float = 1.0,
        regularizer_normalization: str = "sum",
        annotation_scale: float = 1.0,
        vocabulary_digest: str = "",
        attention: str = "soft",
        attention_temperature: float = 1.0,
        soft_attention_probability: float = 0.5,
        reinforce_weight: float = 0.1,
        entropy_weight: float = 0.002,
        baseline_decay: float = 0.9,
        reinforce_scale: str = "caption",
        attention_samples: int = 1,
        gumbel_temperature: float = 0.0,
        label_smoothing: float = 0.0,
        scheduled_sampling: float = 0.0,
        ema: float = 0.0,
        encoder: keras.Model | None = None,
        encoder_learning_rate_multiplier: float = 1.0,
        encoder_start: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.encoder = encoder
        self.encoder_learns = encoder is not None and encoder_start == 0
        self.arguments = {
            "vocabulary_size": vocabulary_size,
            "embedding_size": embedding_size,
            "units": units,
            "attention_units": attention_units,
            "gate": gate,
            "initial_units": initial_units,
            "activation": activation,
            "dropout": dropout,
            "regularizer_weight": regularizer_weight,
            "regularizer_normalization": regularizer_normalization,
            "annotation_scale": annotation_scale,
            "vocabulary_digest": vocabulary_digest,
            "attention": attention,
            "attention_temperature": attention_temperature,
            "soft_attention_probability": soft_attention_probability,
            "reinforce_weight": reinforce_weight,
            "entropy_weight": entropy_weight,
            "baseline_decay": baseline_decay,
            "reinforce_scale": reinforce_scale,
            "attention_samples": attention_samples,
            "gumbel_temperature": gumbel_temperature,
            "label_smoothing": label_smoothing,
            "scheduled_sampling": scheduled_sampling,
            "ema": ema,
            "encoder_learning_rate_multiplier": encoder_learning_rate_multiplier,
            "encoder_start": encoder_start,
        }
        self.vocabulary_digest = vocabulary_digest
        self.annotation_scale = annotation_scale
        self.label_smoothing = label_smoothing
        if attention not in ATTENTIONS:
            raise ValueError(
                f"`attention` must be one of {ATTENTIONS}. "
                f"Received: attention={attention!r}"
            )
        self.hard = None
        if attention == "hard":
            self.hard = HardAttention(
                soft_attention_probability,
                reinforce_weight,
                entropy_weight,
                baseline_decay,
                reinforce_scale,
                attention_samples,
                gumbel_temperature,
            )
        self.sampling = None
        if scheduled_sampling:
            self.sampling = ScheduledSampling(scheduled_sampling)
        self.average = WeightAverage(ema) if ema else None
        own = {"dtype": self.dtype_policy}
        self.embedding = keras.layers.Embedding(
            vocabulary_size, embedding_size, name="embedding", **own
        )
        self.initial_state = InitialState(
            units, initial_units, dropout, name="initial_state", **own
        )
        self.decoder = LSTMDecoder(
            units,
            attention_units,
            gate,
            attention_temperature,
            name="decoder",
        )
        self.output_layer = DeepOutput(
            vocabulary_size, activation, dropout, name="output", **own
        )
        self.regularizer = DoublyStochasticRegularizer(
            regularizer_weight, regularizer_normalization
        )
        # What training asks for in place of likelihood, such as
        # `SelfCritical`; no part of what is saved.
        self.objective = None
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.nll_metric = keras.metrics.Mean(name="nll_per_word")

    def build(self, shapes):
        """Creates the weights.

        Args:
            shapes: `{"annotations": (N, L, D), "tokens": (N, K, T + 1)}`.
        """
        annotations = shapes["annotations"]
        if self.encoder is not None:
            annotations = (None, None, self.encoder.output_shape[-1])
        size = self.embedding.output_dim
        self.embedding.build()
        self.initial_state.build(annotations)
        depth, units = annotations[-1], self.initial_state.units
        sequence, state = (None, None, None), (None, None, units)
        words = (*sequence, size)
        self.decoder.build(words, state, state, annotations)
        self.output_layer.build(words, (*sequence, units), (*sequence, depth))
        if self.average:
            self.average.build(self.trainable_variables)
        self.built = True

    @property
    def vocabulary_size(self) -> int:
        """V, how many words it knows, special ones included."""
        return self.output_layer.vocabulary_size

    def grid(self, given: tuple[int, int]) -> tuple[int, int]:
        """Returns rows and columns of the attention.

        Args:
            given: Those of the annotations that it is given.
        """
        if self.encoder is None:
            return tuple(given)
        return self.encoder.output_shape[1:3]

    @property
    def metrics(self):
        """The running means shown while training."""
        own = [self.loss_metric, self.nll_metric]
        return own + (self.objective.metrics if self.objective else [])

    def call(self, inputs, training=None):
        """Returns logits and attention for given words; see the class."""
        annotations = self.annotation_scale * ops.cast(
            self._encoded(inputs["annotations"], training), self.compute_dtype
        )
        tokens = inputs["tokens"][:, :, :-1]
        words = self.embedding(tokens)
        hidden, cell = self.initial_state(annotations, training=training)
        batch = ops.shape(words)[:2]
        sampling = None
        if self.hard and training:
            sampling = self.hard.sampling(tokens, annotations)
        decoded = self.decoder(
            words,
            _repeat(hidden, batch),
            _repeat(cell, batch),
            annotations,
            sampling=sampling,
        )
        logits = self.output_layer(
            words, decoded.hidden, decoded.context, training=training
        )
        outputs = {"logits": logits, "attention": decoded.attention}
        if sampling is not None:
            outputs |= {
                "context_weights": decoded.context_weights,
                "sampled": sampling.sampled,
            }
        return outputs

    def _encoded(self, annotations, training=None):
        """Takes annotations through the part of the encoder that is here."""
        if self.encoder is None:
            return annotations
        training = training and self.encoder_learns
        features = self.encoder(annotations, training=training)
        if not self.encoder_learns:
            features = ops.stop_gradient(features)
        rows, columns, depth = features.shape[1:]
        return ops.reshape(features, (-1, rows * columns, depth))

    def fit_annotation_scale(self, samples) -> None:
        """Sets `annotation_scale` so that annotations have a deviation of 1.

        Where they come near one the model learns several times faster than
        where they are small. To three digits, so that it does not depend on
        the order of a sum.

        Args:
            samples: Arrays `(N, L, D)` like those it will be given.
        """
        count, total, squares = 0, 0.0, 0.0
        for sample in samples:
            encoded = self._encoded(ops.convert_to_tensor(sample), False)
            values = ops.convert_to_numpy(encoded).astype("float64")
            count += values.size
            total += values.sum()
            squares += np.square(values).sum()
        deviation = np.sqrt(squares / count - (total / count) ** 2)
        self._set_scale(float(f"{1 / max(deviation, 1e-6):.3g}"))

    def copy_annotation_scale(self, other: "Captioner") -> None:
        """Takes another's `annotation_scale`, whose weights it takes."""
        self._set_scale(other.annotation_scale)

    def _set_scale(self, scale: float) -> None:
        self.annotation_scale = self.arguments["annotation_scale"] = scale

    def set_random_state(
        self, seed: int, step: int, first: int | None = None
    ) -> None:
        """Makes all chance from now on follow from a seed and a step.

        On several devices each has its own.

        A `.keras` file does not hold the state of random generators.

        Args:
            seed: Of the run.
            step: Steps taken so far.
            first: The step that chance was last set at in a run that was not
                stopped, such as the first of an epoch; by default this one.
        """
        layers = self._flatten_layers(include_self=False)
        droppers = [x for x in layers if isinstance(x, keras.layers.Dropout)]
        # With how often each is used in a step.
        generators = [(x.seed_generator, 1) for x in droppers if x.rate > 0]
        if self.hard:
            generators.append((self.hard.seed_generator, 2))
        if self.sampling:
            generators += [(x, 1) for x in self.sampling.seed_generators]
        first = step if first is None else first
        for number, (generator, uses) in enumerate(generators):
            count = first + uses * (step - first)
            states = self.distribute_strategy.experimental_local_results(
                generator.state.value
            )
            for replica, state in enumerate(states):
                own = 1000 * seed + 100 * replica + number
                state.assign([own % 2**31, count])

    def losses_of(self, inputs, training=None):
        """Returns the terms of equation 14 for a batch.

        With label smoothing its first term is the smoothed one.

        Args:
            inputs: As for a call. A caption of padding alone counts nothing.
            training: Whether to drop units.

        Returns:
            The mean loss of a caption, the summed negative log-likelihood,
            and the number of words, all scalars.
        """
        draws, read = self.hard and training, inputs
        if self.sampling and training:
            read = self._mixed(inputs)
        if draws:
            inputs, read = map(self.hard.repeated, (inputs, read))
        targets = inputs["tokens"][:, :, 1:]
        mask = targets != PADDING
        outputs = self(read, training=training)
        nll = caption_nll(outputs["logits"], targets, mask)
        penalty = self.regularizer(outputs["attention"], mask)
        if self.label_smoothing:
            penalty = penalty + self.label_smoothing * smoothing(
                outputs["logits"], targets, mask
            )
        real = ops.cast(ops.any(mask, axis=-1), "float32")
        captions = ops.maximum(total(ops.sum(real)), 1)
        loss = ops.sum((nll + penalty) * real) / captions
        if draws:
            loss = loss + self.hard.loss(nll, outputs, mask)
        words = ops.sum(ops.cast(mask, "float32"))
        return loss, ops.sum(nll), words

    def _mixed(self, inputs):
        """Returns the inputs with some previous words as the model says."""
        tokens = self.sampling.mixed(
            inputs["tokens"], lambda: self(inputs, training=False)["logits"]
        )
        return {**inputs, "tokens": tokens}

    def train_step(self, data):
        """Takes one step of the optimizer on a batch."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        losses_of = self.losses_of
        if self.objective is not None:
            inputs = self.objective.said(inputs)
            losses_of = self.objective.losses_of
        with tf.GradientTape() as tape:
            loss, nll, words = losses_of(inputs, training=True)
            if not self.optimizer.built:
                # For all weights, also those that do not learn yet.
                self.optimizer.build(self.trainable_variables)
            scaled = self.optimizer.scale_loss(loss)
        gradients = tape.gradient(scaled, self.learning_variables)
        # The embedding's comes as rows, one for each time a word occurs, and
        # Keras's clipping and Adam would square those before adding them up.
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        if tf.distribute.has_strategy():
            at_once(self._take_step, gradients)
        else:
            self.apply_gradients(gradients)
        return self._update_metrics(loss, nll, words)

    @property
    def learning_variables(self):
        """The weights that learn now; the encoder's may come in later."""
        if self.encoder is None or self.encoder_learns:
            return self.trainable_variables
        frozen = {id(v) for v in self.encoder.trainable_variables}
        return [v for v in self.trainable_variables if id(v) not in frozen]

    def learn_encoder(self, step: int) -> None:
        """Lets the encoder learn, if it is time to.

        Args:
            step: Steps taken so far.
        """
        learns = self.encoder is not None
        learns = learns and step >= self.arguments["encoder_start"]
        if learns != self.encoder_learns:
            self.encoder_learns = learns
            self.make_train_function(force=True)

    # Compiled: one pass over each weight instead of a dozen.
    @tf.function(jit_compile=True, autograph=False)
    def apply_gradients(self, gradients):
        """Updates all weights that learn, given one tensor for each."""
        self._take_step(gradients)

    def _take_step(self, gradients):
        take_step(
            self.optimizer,
            gradients,
            self.learning_variables,
            self.encoder.trainable_variables if self.encoder_learns else [],
            self.arguments["encoder_learning_rate_multiplier"],
            self.arguments["encoder_start"],
        )
        if self.average:
            self.average.update(
                self.trainable_variables, self.optimizer.iterations
            )

    def steps_taken(self) -> int:
        """Returns how many steps the optimizer has taken."""
        return int(ops.convert_to_numpy(self.optimizer.iterations))

    def averaged(self) -> contextlib.AbstractContextManager:
        """Lends the model the average of its weights, if it keeps one."""
        if not self.average or not self.steps_taken():
            return contextlib.nullcontext()
        return self.average.in_place_of(self.trainable_variables)

    def test_step(self, data):
        """Measures a batch with teacher forcing; changes nothing."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._update_metrics(*self.losses_of(inputs, training=False))

    def _update_metrics(self, loss, nll, words):
        loss, nll, words = total([loss, nll, words])
        self.loss_metric.update_state(loss)
        self.nll_metric.update_state(nll / ops.maximum(words, 1), words)
        return {metric.name: metric.result() for metric in self.metrics}

    def begin(self, annotations):
        """Starts captions.

        Args:
            annotations: `(N, L, D)`, as the encoder gave them.

        Returns:
            The first state, and the scaled annotations and what is projected
            from them once, which every `step` needs.
        """
        return self.start(self.encode(annotations))

    def encode(self, annotations):
        """Takes annotations through the part of the encoder that is here.

        Args:
            annotations: As for `begin`.

        Returns:
            What the decoder attends to, not yet scaled, `(N, L, D)` float32.
        """
        return ops.cast(self._encoded(annotations, training=False), "float32")

    def start(self, encoded):
        """Starts captions of what `encode` returned; returns as `begin`."""
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
            token: The previous words, `(N,)` or `(N, K)`, integers.
            state: A `DecodingState`.
            annotations: What `begin` returned.
            keys: What `begin` returned.
            context_weights: A function from the attention `(N, K, L)` to the
                weights that make the context, such as one at one location;
                by default the attention.

        Returns:
            The logits of the next word `(N, [K,] V)`, the next state, the
            attention `(N, [K,] L)` and the gate, `(N, [K,] 1)` or
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
        """Returns what rebuilds the model."""
        encoder = keras.saving.serialize_keras_object(self.encoder)
        return {**super().get_config(), **self.arguments, "encoder": encoder}

    @classmethod
    def from_config(cls, config):
        """Rebuilds the model from what `get_config` gave."""
        encoder = keras.saving.deserialize_keras_object(config.get("encoder"))
        return super().from_config({**config, "encoder": encoder})


def _repeat(state, batch):
    """Gives each of K captions of an image its own copy of the state."""
    state = ops.expand_dims(state, 1)
    return ops.broadcast_to(state, (*batch, state.shape[-1]))
