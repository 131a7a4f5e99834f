"""Several devices, each with a share of every batch.

Under a strategy of `tf.distribute` each replica runs the training step on its
own rows of the batch. What is a sum over the batch is summed over replicas
here. Without a strategy all of this is nothing.
"""

import tensorflow as tf


def total(value):
    """Returns the sum of a value, or a list of them, over all replicas."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return value
    return context.all_reduce(tf.distribute.ReduceOp.SUM, value)


def at_once(function, values):
    """Calls a function of a list of values once for all replicas.

    To be called by every replica. The function is given what all of them
    have.
    """
    context = tf.distribute.get_replica_context()
    context.merge_call(lambda _, *values: function(values), values)


def reduce_and_apply(optimizer, gradients, variables) -> None:
    """Takes a step of the optimizer with the sum of all replicas' gradients.

    Keras's own `apply` clips the gradient of each replica, before their sum.
    To be called `at_once`.
    """
    strategy = tf.distribute.get_strategy()
    variables = [variable.value for variable in variables]
    gradients = strategy.extended.batch_reduce_to(
        tf.distribute.ReduceOp.SUM, list(zip(gradients, variables))
    )
    scale = tf.constant(1.0)
    if optimizer.global_clipnorm:
        norm = tf.linalg.global_norm(gradients)
        scale = optimizer.global_clipnorm / tf.maximum(
            norm, optimizer.global_clipnorm
        )

    def update(variable, gradient, scale, rate):
        optimizer.update_step(scale * gradient, variable, rate)

    for variable, gradient in zip(variables, gradients, strict=True):
        strategy.extended.update(
            variable,
            update,
            (gradient, scale, optimizer.learning_rate),
            group=False,
        )
    optimizer.iterations.assign_add(1)
