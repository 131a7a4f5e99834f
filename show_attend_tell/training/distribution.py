"""Training on several devices, each with a share of every batch."""

from collections.abc import Callable

import tensorflow as tf

from pipelines.batches import TrainingBatches
from pipelines.errors import UserError


def make_strategy(name: str) -> tf.distribute.Strategy:
    """Returns the strategy of `--strategy`: `"none"` or `"mirrored"`.

    It is TensorFlow's default where there is a single device.
    """
    if name == "none":
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    devices = tf.config.list_logical_devices(kind)
    print(f"trains on {len(devices)} {kind}{'s' * (len(devices) > 1)}")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([x.name for x in devices])


def check_batch_size(batches: TrainingBatches, devices: int) -> None:
    """Checks that each device gets as many images of a batch.

    Raises:
        UserError: They do not divide evenly.
    """
    images, captions = batches.images_per_batch(), batches.captions_per_image()
    if images % devices:
        fits = captions * devices * max(1, round(images / devices))
        raise UserError(
            f"Expected a batch that {devices} devices can share. Received: "
            f"--batch_size={batches.batch_size}, which is {images} images of "
            f"{captions} captions. Give --batch_size={fits}"
        )


def call_once(function: Callable, gradients) -> None:
    """Calls a function once for all replicas; to be called by every one.

    Args:
        function: Takes a list of gradients, each one value of all replicas.
        gradients: The replica's.
    """
    context = tf.distribute.get_replica_context()
    context.merge_call(lambda _, *values: function(values), gradients)


def apply_summed_gradients(optimizer, gradients, variables) -> None:
    """Takes a step of the optimizer by the sum of all replicas' gradients.

    To be called once for all replicas. Keras's optimizers clip the gradient of
    each replica before they add them up; here they are added up first.

    Args:
        optimizer: Of Keras, built with these weights. Of what it can do to a
            gradient, it may clip the norm of all.
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
    if optimizer.use_ema:
        optimizer._update_model_variables_moving_average(
            optimizer._trainable_variables
        )
    optimizer.iterations.assign_add(1)
