"""The weights of the last steps, averaged: less noise, the same model."""

import contextlib
from collections.abc import Iterator, Sequence

import keras
from keras import ops


class WeightAverage(keras.layers.Layer):
    """The exponential moving average of weights.

        average_t = average_(t-1) + (1 - m_t) (w_t - average_(t-1))
        m_t = min(momentum, (t - 1) / (t + 9))

    At the start `m_t` is small, as in TensorFlow's
    `ExponentialMovingAverage`: the average is of the last tenth of the steps
    or so, and weights that had learned nothing soon have no part in it.

    Keras's optimizers have `use_ema`, which keeps the first weights with a
    part of `momentum ** t`, and sees each step before a slower learning_rate_multiplier of some
    weights is taken into account.

    Args:
        momentum: `m`, near one; the average then is over about `1 / (1 - m)`
            steps.
    """

    def __init__(self, momentum: float):
        super().__init__(name="weight_average", dtype="float32")
        self.momentum = momentum

    def build(self, variables: Sequence[keras.Variable]) -> None:
        """Creates the average of each of these weights."""
        self.averages = [
            self.add_weight(
                name=f"average_{number}",
                shape=variable.shape,
                initializer="zeros",
                trainable=False,
            )
            for number, variable in enumerate(variables)
        ]
        self.built = True

    def update(self, variables: Sequence[keras.Variable], step) -> None:
        """Takes a step into account.

        Args:
            variables: The weights, after it.
            step: t, from 1 on.
        """
        step = ops.cast(step, "float32")
        momentum = ops.minimum(self.momentum, (step - 1) / (step + 9))
        for average, variable in zip(self.averages, variables, strict=True):
            average.assign_add((1 - momentum) * (variable - average))

    @contextlib.contextmanager
    def in_place_of(self, variables: Sequence[keras.Variable]) -> Iterator:
        """Lends the averages to the weights, which get their own back."""
        own = [ops.copy(variable) for variable in variables]
        try:
            for variable, average in zip(variables, self.averages, strict=True):
                variable.assign(average)
            yield
        finally:
            for variable, value in zip(variables, own, strict=True):
                variable.assign(value)
