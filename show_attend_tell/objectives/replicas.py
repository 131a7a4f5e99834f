"""Sums over the devices that share a batch.

Under a strategy of `tf.distribute` every replica computes on its rows of the
batch. What is normalised by a sum over the batch is therefore normalised by
the sum over all replicas, so that a step is that of one device.
"""

from collections.abc import Callable

import keras


def _replica_context():
    """Returns TensorFlow's, or `None` where there is but one replica."""
    if keras.backend.backend() != "tensorflow":
        return None
    import tensorflow as tf

    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return None
    return context


def replica_sum(value):
    """Returns the sum of a tensor, or of each in a list, over all replicas."""
    context = _replica_context()
    return value if context is None else context.all_reduce("SUM", value)


def replica_rows(make: Callable, rows):
    """Makes the rows of the complete batch, and returns the replica's.

    Randomness made so is the same on any number of devices.

    Args:
        make: Returns a tensor of as many rows as it is given.
        rows: How many the replica has.
    """
    context = _replica_context()
    if context is None:
        return make(rows)
    first = context.replica_id_in_sync_group * rows
    return make(context.num_replicas_in_sync * rows)[first : first + rows]
