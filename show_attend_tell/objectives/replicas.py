"""Several devices, each with a share of every batch.

Under a strategy of `tf.distribute` every replica takes the training step on
its own rows of the batch, and the weights of all move by the gradient of the
whole batch: a step is that of one device. What is summed over the batch is
therefore summed over replicas here. Where there is one replica alone, a
`total` is the value itself.

Keras's optimizers clip the gradient of each replica, before they add them up.
Here they are added up first.
"""

from collections.abc import Callable, Sequence

import tensorflow as tf


def total(value):
    """Returns the sum of a tensor, or of each in a list, over all replicas."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def own_rows(make: Callable, rows):
    """Makes the rows of the whole batch, and returns the replica's own.

    Chance that is drawn so is the same on any number of devices.

    Args:
        make: Returns a tensor of as many rows as it is given.
        rows: How many the replica has.
    """
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return make(rows)
    first = context.replica_id_in_sync_group * rows
    return make(context.num_replicas_in_sync * rows)[first : first + rows]


def at_once(function: Callable, values: Sequence) -> None:
    """Calls a function once for all replicas, with the values of all.

    To be called by every replica.

    Args:
        function: Takes a list of values.
        values: The replica's.
    """
    context = tf.distribute.get_replica_context()
    context.merge_call(lambda _, *values: function(values), values)


def reduce_and_apply(optimizer, gradients, variables) -> None:
    """Takes a step of the optimizer by the sum of all replicas' gradients.

    To be called `at_once`.

    Args:
        optimizer: Of Keras, built with at least these weights. Of what all
            optimizers can do to a gradient, it may clip the norm of all.
        gradients: One value of all replicas for each weight.
        variables: The weights.
    """
    strategy = tf.distribute.get_strategy()
    variables = [variable.value for variable in variables]
    gradients = strategy.extended.batch_reduce_to(
        tf.distribute.ReduceOp.SUM,
        list(zip(gradients, variables, strict=True)),
    )
    scale, largest = tf.constant(1.0), optimizer.global_clipnorm
    if largest:
        norm = tf.linalg.global_norm(gradients)
        scale = largest / tf.maximum(norm, largest)

    def update(variable, gradient, scale, rate):
        optimizer.update_step(scale * gradient, variable, rate)

    rate = optimizer.learning_rate
    for variable, gradient in zip(variables, gradients, strict=True):
        strategy.extended.update(
            variable, update, (gradient, scale, rate), group=False
        )
    optimizer.iterations.assign_add(1)
