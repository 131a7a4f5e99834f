"""A step of the optimizer, in which some weights learn more slowly."""

import keras
import tensorflow as tf
from keras import ops

from show_attend_tell.objectives.replicas import reduce_and_apply


def take_step(
    optimizer,
    gradients,
    variables,
    slow_variables,
    learning_rate_multiplier: float,
    start: int,
) -> None:
    """Updates weights, some of them at a learning rate of their own.

    Adam and RMSprop do not feel the size of a gradient, so that a smaller
    rate must be a smaller part of their step, `w + learning_rate_multiplier (w' - w)`.

    Args:
        optimizer: Of Keras, built with at least these weights.
        gradients: One tensor for each weight.
        variables: The weights.
        slow_variables: Those that move by a part of the step.
        learning_rate_multiplier: That part.
        start: The step of the optimizer in which they begin to learn.
    """
    before = [ops.copy(variable) for variable in slow_variables]
    step = ops.copy(optimizer.iterations)
    if tf.distribute.in_cross_replica_context():
        reduce_and_apply(optimizer, gradients, variables)
    else:
        optimizer.apply(gradients, variables)
    if isinstance(optimizer, keras.optimizers.LossScaleOptimizer):
        # A step that was left out for too large a gradient is one all the
        # same: a run counts its batches by it.
        optimizer.iterations.assign(step + 1)
        optimizer = optimizer.inner_optimizer
    part = learning_rate_multiplier * _correction(optimizer, step, start)
    for variable, value in zip(slow_variables, before, strict=True):
        variable.assign(value + part * (variable - value))


def _correction(optimizer, step, start: int):
    """Undoes what Adam takes a weight for that begins to learn later.

    Its moving averages begin at zero, for which it divides them by `1 -
    beta^t`, t counted from its own first step. Of a weight that comes in
    later, t is counted from there, or it would take leaps.
    """
    if start == 0 or not isinstance(optimizer, keras.optimizers.Adam):
        return 1.0
    own, all_steps = (
        ops.cast(taken, "float32") for taken in (step + 1 - start, step + 1)
    )

    def factor(t):
        first, second = (
            1 - ops.power(beta, t)
            for beta in (optimizer.beta_1, optimizer.beta_2)
        )
        return ops.sqrt(second) / first

    return factor(own) / factor(all_steps)
