"""EfficientNet-Lite0, the small network for devices.

EfficientNet-B0 without squeeze-and-excitation and with ReLU6, so that it
runs well, and in eight bits, on phones: Liu, "Higher accuracy on vision
models with EfficientNet-Lite", TensorFlow Blog 2020, after Tan and Le,
"EfficientNet", 2019. Layers have the names that Keras gives those of its
EfficientNetB0.

keras-hub's `EfficientNetBackbone` has the blocks as single layers, and
annotations and cuts are chosen by the layers inside.
"""

import keras
from keras import layers

IMAGE_SIZE = 224  # pixels
EPSILON = 1e-3  # of batch normalization
STEM = 32
HEAD = 1280
# Of each stage: blocks, side of the kernel, stride, expansion, depth.
STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)


def efficientnet_lite0() -> keras.Model:
    """Builds the network without its top, up to before its pool.

    Pixels as `(x - 127) / 128`, `(N, 224, 224, 3)`, to `(N, 7, 7, 1280)`.
    """
    images = keras.Input((IMAGE_SIZE, IMAGE_SIZE, 3))
    features = _convolution(images, STEM, 3, "stem_conv", strides=2)
    features = _relu6(_normalized(features, "stem_bn"), "stem_activation")
    for s, (blocks, kernel, strides, expansion, depth) in enumerate(STAGES, 1):
        for b in range(blocks):
            name, stride = f"block{s}{'abcd'[b]}", strides if b == 0 else 1
            features = _block(features, name, kernel, stride, expansion, depth)
    features = _convolution(features, HEAD, 1, "top_conv")
    features = _relu6(_normalized(features, "top_bn"), "top_activation")
    return keras.Model(images, features, name="efficientnet_lite0")


def _block(inputs, name: str, kernel: int, strides: int, expansion, depth: int):
    """An inverted residual: expand, filter each channel, project."""
    features, width = inputs, inputs.shape[-1]
    if expansion > 1:
        expanded = expansion * width
        features = _convolution(features, expanded, 1, f"{name}_expand_conv")
        features = _normalized(features, f"{name}_expand_bn")
        features = _relu6(features, f"{name}_expand_activation")
    features = layers.DepthwiseConv2D(
        kernel, strides, padding="same", use_bias=False, name=f"{name}_dwconv"
    )(features)
    features = _relu6(_normalized(features, f"{name}_bn"), f"{name}_activation")
    features = _convolution(features, depth, 1, f"{name}_project_conv")
    features = _normalized(features, f"{name}_project_bn")
    if strides == 1 and depth == width:
        features = layers.Add(name=f"{name}_add")([features, inputs])
    return features


def _convolution(features, depth: int, kernel: int, name: str, strides=1):
    return layers.Conv2D(
        depth, kernel, strides, padding="same", use_bias=False, name=name
    )(features)


def _normalized(features, name: str):
    return layers.BatchNormalization(epsilon=EPSILON, name=name)(features)


def _relu6(features, name: str):
    return layers.ReLU(max_value=6, name=name)(features)
