"""Multiply-adds, counted by hand and by those who published them."""

import keras
import pytest

from benchmarks.multiply_adds import multiply_adds
from pipelines.encoders.registry import build_encoder


def test_by_hand():
    images = keras.Input((8, 8, 3))
    features = keras.layers.Conv2D(4, 3, strides=2, padding="same")(images)
    features = keras.layers.BatchNormalization()(features)
    features = keras.layers.Conv2D(6, 1, groups=2)(features)
    features = keras.layers.DepthwiseConv2D(5, padding="valid")(
        keras.layers.ZeroPadding2D(1)(features)
    )
    features = keras.layers.Dense(7)(features)
    inner = keras.Model(images, features)
    outer = keras.Input((8, 8, 3))
    flat = keras.layers.Flatten()(inner(outer))
    network = keras.Model(outer, keras.layers.Dense(10)(flat))
    # 4x4 locations, then 2x2.
    assert multiply_adds(network) == (
        16 * 9 * 3 * 4 + 16 * 2 * 6 + 4 * 25 * 6 + 4 * 6 * 7 + 28 * 10
    )


def test_other_kernels_are_not_passed_over():
    words = keras.Input((5, 3))
    network = keras.Model(words, keras.layers.LSTM(2)(words))
    with pytest.raises(ValueError, match="LSTM"):
        multiply_adds(network)


def test_encoders():
    # Published: 15.5 G of VGG16 with its dense layers, 123.6 M; 0.39 G of
    # EfficientNet-B0, which is Lite0 but for 0.6 M in squeeze-and-excitation,
    # with its top, 1.3 M.
    vgg16 = multiply_adds(build_encoder("vgg16", None, "none").model)
    assert vgg16 + 123.6e6 == pytest.approx(15.5e9, rel=0.005)
    lite0 = multiply_adds(
        build_encoder("efficientnet_lite0", "top_activation", "none").model
    )
    assert lite0 + 1.9e6 == pytest.approx(0.39e9, rel=0.02)
    assert 30 * lite0 < vgg16
