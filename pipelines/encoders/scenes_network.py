"""The small convolutional network for rendered scenes."""

import keras
from keras import layers, ops

IMAGE_SIZE = 112  # pixels
WIDTHS = ((16,), (32, 32), (64, 64), (128, 128))
EPSILON = 1e-3  # of batch normalization while training


@keras.saving.register_keras_serializable(package="show_attend_tell")
class Coordinates(layers.Layer):
    """Appends a location's row and column, from -1 to 1, as channels.

    Convolutions do not have them, and "left of" needs them (Liu et al. 2018).
    """

    def call(self, features):
        """Returns `(N, H, W, C + 2)` for `(N, H, W, C)`."""
        n, height, width = ops.shape(features)[:3]
        rows = ops.linspace(-1.0, 1.0, height, dtype=features.dtype)
        columns = ops.linspace(-1.0, 1.0, width, dtype=features.dtype)
        shape = (n, height, width, 1)
        rows = ops.broadcast_to(rows[None, :, None, None], shape)
        columns = ops.broadcast_to(columns[None, None, :, None], shape)
        return ops.concatenate([features, rows, columns], axis=-1)


def scenes_network(normalized: bool = False) -> keras.Model:
    """Builds a network of VGG's kind, up to before its last pool.

    Pixels from -1 to 1, `(N, 112, 112, 3)`, to `(N, 14, 14, 128)`. It is
    `normalized` for training alone, see `fold_normalization`.
    """
    images = features = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    for b, widths in enumerate(WIDTHS, start=1):
        if b > 1:
            features = layers.MaxPool2D(name=f"block{b - 1}_pool")(features)
        if b == len(WIDTHS):
            features = Coordinates(name="coordinates")(features)
        for c, width in enumerate(widths, start=1):
            name = f"block{b}_conv{c}"
            features = layers.Conv2D(
                width,
                3,
                padding="same",
                use_bias=not normalized,
                kernel_initializer="he_normal",
                activation=None if normalized else "relu",
                name=name,
            )(features)
            if normalized:
                features = layers.BatchNormalization(
                    epsilon=EPSILON, momentum=0.98, name=f"{name}_norm"
                )(features)
                features = layers.ReLU(name=f"{name}_relu")(features)
    return keras.Model(images, features, name="scenes")


def fold_normalization(normalized: keras.Model) -> keras.Model:
    """Returns the plain network that computes the same at inference."""
    plain = scenes_network()
    for layer in plain.layers:
        if not isinstance(layer, layers.Conv2D):
            continue
        norm = normalized.get_layer(f"{layer.name}_norm")
        scale = norm.gamma / ops.sqrt(norm.moving_variance + EPSILON)
        kernel = normalized.get_layer(layer.name).kernel
        layer.kernel.assign(kernel * scale)
        layer.bias.assign(norm.beta - norm.moving_mean * scale)
    return plain
