"""A step of training: captioner, objective and optimizer together."""

import contextlib
from collections.abc import Iterator

import keras
import tensorflow as tf
from keras import ops

from show_attend_tell.model import Captioner
from show_attend_tell.objectives.objective import Objective
from show_attend_tell.objectives.replicas import replica_sum
from show_attend_tell.training.distribution import (
    apply_summed_gradients,
    call_once,
)


@keras.saving.register_keras_serializable(package="show_attend_tell")
class CaptionerTrainer(keras.Model):
    """Trains a captioner; a checkpoint holds all that training goes on from.

    Example:
        trainer = CaptionerTrainer(captioner, Likelihood())
        trainer.compile(keras.optimizers.Adam(5e-4), jit_compile=False)
        trainer.fit(batches)  # of {"annotations": ..., "tokens": ...}
        trainer.captioner.save("captioner.keras")

    The decoder's loop and the optimizer's step are compiled by XLA. The rest
    of a step is faster as TensorFlow's operations, hence `jit_compile=False`.

    Args:
        captioner: The model.
        objective: What is minimised.
        encoder_learning_rate_multiplier: The learning rate of a fine-tuned
            encoder, as a part of the optimizer's.
        encoder_start: The step of the optimizer from which the encoder learns.
    """

    def __init__(
        self,
        captioner: Captioner,
        objective: Objective,
        encoder_learning_rate_multiplier: float = 1.0,
        encoder_start: int = 0,
        **kwargs,
    ):
        super().__init__(**{"dtype": captioner.dtype_policy, **kwargs})
        self.captioner = captioner
        self.objective = objective
        self.encoder_learning_rate_multiplier = encoder_learning_rate_multiplier
        self.encoder_start = encoder_start
        captioner.is_encoder_frozen = encoder_start > 0
        self.loss_metric = keras.metrics.Mean(name="loss")
        self.nll_metric = keras.metrics.Mean(name="nll_per_word")
        self.built = captioner.built

    def build(self, input_shape=None):
        """Builds the captioner, unless it is built."""
        if not self.captioner.built:
            self.captioner.build(input_shape)
        self.built = True

    def call(self, inputs, training=None):
        """Calls the captioner."""
        return self.captioner(inputs, training=training)

    @property
    def metrics(self):
        """The running means shown while training."""
        return [self.loss_metric, self.nll_metric, *self.objective.metrics]

    def train_step(self, data):
        """Takes one step of the optimizer on a batch."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        inputs = self.objective.prepare(
            self.captioner, inputs, self.optimizer.iterations
        )
        with tf.GradientTape() as tape:
            losses = self.objective.compute_losses(
                self.captioner, inputs, training=True
            )
            if not self.optimizer.built:
                self.build()  # The call has built the captioner.
                # For all weights, also those that do not learn yet.
                self.optimizer.build(self.trainable_variables)
            loss = self.optimizer.scale_loss(losses.loss)
        gradients = tape.gradient(loss, self.learning_variables)
        # The embedding's comes as rows, one for each time a word occurs, and
        # Keras's clipping and Adam would square those before adding them up.
        gradients = [tf.convert_to_tensor(g) for g in gradients]
        if tf.distribute.has_strategy():
            call_once(self._update_weights, gradients)
        else:
            self.apply_gradients(gradients)
        return self._update_metrics(losses)

    def test_step(self, data):
        """Measures a batch with teacher forcing; changes nothing."""
        inputs, _, _ = keras.utils.unpack_x_y_sample_weight(data)
        return self._update_metrics(
            self.objective.compute_losses(
                self.captioner, inputs, training=False
            )
        )

    def _update_metrics(self, losses):
        loss, nll, words = replica_sum(list(losses))
        self.loss_metric.update_state(loss)
        self.nll_metric.update_state(nll / ops.maximum(words, 1), words)
        return {metric.name: metric.result() for metric in self.metrics}

    # Compiled: one pass over each weight instead of a dozen.
    @tf.function(jit_compile=True, autograph=False)
    def apply_gradients(self, gradients):
        """Updates all weights that learn, given one tensor for each."""
        self._update_weights(gradients)

    def _update_weights(self, gradients):
        slow = self.encoder_variables if self._encoder_learns else []
        apply_gradients(
            self.optimizer,
            gradients,
            self.learning_variables,
            slow,
            self.encoder_learning_rate_multiplier,
            self.encoder_start,
        )

    @property
    def encoder_variables(self):
        """The trainable weights of a fine-tuned encoder."""
        encoder = self.captioner.encoder
        return [] if encoder is None else encoder.trainable_variables

    @property
    def learning_variables(self):
        """The weights that learn now; the encoder's may come in later."""
        if self._encoder_learns:
            return self.trainable_variables
        frozen = {id(v) for v in self.encoder_variables}
        return [v for v in self.trainable_variables if id(v) not in frozen]

    @property
    def _encoder_learns(self) -> bool:
        return not self.captioner.is_encoder_frozen

    def update_encoder(self) -> None:
        """Lets the encoder learn from `encoder_start` on."""
        frozen = self.steps_taken() < self.encoder_start
        if frozen != self.captioner.is_encoder_frozen:
            self.captioner.is_encoder_frozen = frozen
            self.make_train_function(force=True)

    def steps_taken(self) -> int:
        """Returns how many steps the optimizer has taken."""
        return int(ops.convert_to_numpy(self.optimizer.iterations))

    @contextlib.contextmanager
    def averaged_weights(self) -> Iterator[None]:
        """Puts the averages of `use_ema`, if any, in place of the weights."""
        optimizer = getattr(self.optimizer, "inner_optimizer", self.optimizer)
        if not optimizer.use_ema or not self.steps_taken():
            yield
            return
        weights = [ops.copy(variable) for variable in self.trainable_variables]
        try:
            optimizer.finalize_variable_values(self.trainable_variables)
            yield
        finally:
            for variable, value in zip(
                self.trainable_variables, weights, strict=True
            ):
                variable.assign(value)

    def set_random_state(
        self, seed: int, step: int, first: int | None = None
    ) -> None:
        """Makes all randomness from now on follow from a seed and a step.

        A `.keras` file does not hold the state of random generators. On
        several devices each has its own.

        Args:
            seed: Of the run.
            step: Steps taken so far.
            first: The step in which the state was last set in a run that was
                not stopped, such as the first of an epoch; by default `step`.
        """
        first = step if first is None else first
        for number, (generator, uses) in enumerate(self._random_generators()):
            count = first + uses * (step - first)
            states = self.distribute_strategy.experimental_local_results(
                generator.state.value
            )
            for replica, state in enumerate(states):
                number_of_seed = 1000 * seed + 100 * replica + number
                state.assign([number_of_seed % 2**31, count])

    def _random_generators(self):
        """Returns generators with how often a step uses each."""
        layers = self.captioner._flatten_layers(include_self=False)
        dropouts = [
            (layer.seed_generator, 1)
            for layer in layers
            if isinstance(layer, keras.layers.Dropout) and layer.rate > 0
        ]
        return dropouts + self.objective.random_generators

    def get_config(self):
        """Returns the arguments of the trainer."""
        return {
            **super().get_config(),
            "captioner": keras.saving.serialize_keras_object(self.captioner),
            "objective": keras.saving.serialize_keras_object(self.objective),
            "encoder_learning_rate_multiplier": (
                self.encoder_learning_rate_multiplier
            ),
            "encoder_start": self.encoder_start,
        }

    @classmethod
    def from_config(cls, config):
        """Rebuilds the trainer from what `get_config` returned."""
        parts = {
            name: keras.saving.deserialize_keras_object(config[name])
            for name in ("captioner", "objective")
        }
        return cls(**{**config, **parts})


def apply_gradients(
    optimizer,
    gradients,
    variables,
    slow_variables=(),
    learning_rate_multiplier: float = 1.0,
    start: int = 0,
) -> None:
    """Takes a step of the optimizer, smaller for some of the weights.

    Adam and RMSprop do not feel the size of a gradient, so that a smaller
    learning rate must be a smaller part of their step, `w + m (w' - w)`.

    Args:
        optimizer: Of Keras, built with at least these weights.
        gradients: One tensor for each weight.
        variables: The weights.
        slow_variables: Those that move by a part of the step.
        learning_rate_multiplier: That part, `m`.
        start: The step of the optimizer in which they begin to learn.
    """
    before = [ops.copy(variable) for variable in slow_variables]
    step = ops.copy(optimizer.iterations)
    if tf.distribute.in_cross_replica_context():
        apply_summed_gradients(optimizer, gradients, variables)
    else:
        optimizer.apply(gradients, variables)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        # A step that was left out for too large a gradient is one all the
        # same: a run counts its batches by it.
        optimizer.iterations.assign(step + 1)
        optimizer = optimizer.inner_optimizer
    part = learning_rate_multiplier * _bias_correction(optimizer, step, start)
    for variable, value in zip(slow_variables, before, strict=True):
        variable.assign(value + part * (variable - value))


def _bias_correction(optimizer, step, start: int):
    """Corrects Adam's step of a weight that begins to learn later.

    Its moving averages begin at zero, for which it divides them by
    `1 - beta^t`, with t counted from its first step. For such a weight, t must
    be counted from `start`, or its first steps are too large.
    """
    if start == 0 or not isinstance(optimizer, keras.optimizers.Adam):
        return 1.0

    def factor(step):
        first, second = (
            1 - ops.power(beta, ops.cast(step, "float32"))
            for beta in (optimizer.beta_1, optimizer.beta_2)
        )
        return ops.sqrt(second) / first

    return factor(step + 1 - start) / factor(step + 1)
