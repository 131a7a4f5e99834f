"""Counts the multiply-adds of a network for one image."""

import math

import keras
from keras.layers import Conv2D, Dense, DepthwiseConv2D

_COUNTED = (Conv2D, DepthwiseConv2D, Dense)


def multiply_adds(network: keras.Model) -> int:
    """Counts the multiply-adds of convolutions and dense layers.

    Each value of a layer's output is a sum of products, as many as its
    kernel has for one channel; the rest (biases, activations, pools, and
    normalization, which is folded into the kernels) is small against them.
    """
    return sum(_of_layer(layer) for layer in network.layers)


def _of_layer(layer: keras.layers.Layer) -> int:
    if isinstance(layer, keras.Model):
        return multiply_adds(layer)
    if isinstance(layer, _COUNTED):
        # (rows, columns, in of its group, out), (rows, columns, in, out of
        # each) and (in, out): each location of the output uses it once.
        locations = math.prod(layer.output.shape[1:-1])
        return locations * math.prod(layer.kernel.shape)
    if any(len(weight.shape) > 1 for weight in layer.weights):
        raise ValueError(
            "Expected layers of Conv2D, DepthwiseConv2D and Dense. "
            f"Received: {layer.name}, a {type(layer).__name__}."
        )
    return 0
