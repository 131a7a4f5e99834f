"""An encoder in two parts is the encoder, and only one part learns."""

import keras
import numpy as np
import pytest

from pipelines.encoders.fine_tuning import cut_encoder
from pipelines.encoders.registry import build_encoder
from pipelines.encoders.scenes_network import scenes_network
from pipelines.errors import UserError


def pixels(count, size, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, size, size, 3), np.uint8)


def through(cut, images):
    features = np.asarray(cut.frozen.model(images))
    n = len(images)
    assert features.shape == (n, np.prod(cut.frozen.grid), cut.frozen.depth)
    outputs = np.asarray(cut.live(features), np.float32)
    return outputs.reshape(n, -1, outputs.shape[-1])


def names(variables):
    return {variable.path.rpartition("/")[0] for variable in variables}


@pytest.mark.parametrize(
    ("name", "finetune", "at_pixels", "below", "grid", "learning"),
    [
        ("vgg16", "block5_conv1", False, "block4_pool", (14, 14), 3),
        ("scenes", "block1_conv1", False, "pixels", (112, 112), 7),
        ("scenes", "block4_conv1", False, "coordinates", (14, 14), 2),
        ("scenes", "block4_conv1", True, "pixels", (112, 112), 2),
    ],
)
def test_the_two_parts_compose_to_the_encoder(
    tmp_path, name, finetune, at_pixels, below, grid, learning
):
    cut = cut_encoder(name, None, "none", finetune, at_pixels)
    uncut = build_encoder(name, None, "none")
    assert (cut.frozen.layer, cut.frozen.grid) == (below, grid)
    assert (cut.uncut.digest, cut.uncut.layer) == (uncut.digest, uncut.layer)
    assert cut.live.output_shape == (None, 14, 14, uncut.depth)
    images = pixels(1, uncut.image_size)
    expected = np.asarray(uncut.model(images))
    outputs = through(cut, images)
    np.testing.assert_allclose(outputs, expected, rtol=1e-5, atol=1e-5)
    assert len(names(cut.live.trainable_variables)) == learning
    assert not cut.frozen.model.trainable_variables
    path = tmp_path / "live.keras"
    cut.live.save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    features = cut.frozen.model(images)
    np.testing.assert_array_equal(loaded(features), cut.live(features))
    assert len(names(loaded.trainable_variables)) == learning


def test_trained_weights_are_in_both_parts(tmp_path):
    network = scenes_network()
    generator = np.random.default_rng(1)
    for weight in network.weights:
        weight.assign(0.2 * generator.standard_normal(weight.shape))
    path = str(tmp_path / "some.weights.h5")
    network.save_weights(path)
    images = pixels(2, 112)
    expected = np.asarray(network(images / np.float32(127.5) - 1))
    for finetune in ("block3_conv2", "all"):
        cut = cut_encoder("scenes", None, path, finetune)
        outputs = through(cut, images).reshape(expected.shape)
        tolerance = 1e-5 * expected.max()
        np.testing.assert_allclose(outputs, expected, 1e-4, tolerance)


def test_pretrained_normalisation_stays_as_it_is(tmp_path):
    network = keras.applications.MobileNetV2(
        include_top=False, weights=None, input_shape=(224, 224, 3)
    )
    path = str(tmp_path / "mobilenet.weights.h5")
    network.save_weights(path)
    features = np.random.default_rng(0).normal(2, 3, (2, 784, 32))
    for weights, stays in ((path, True), ("none", False)):
        cut = cut_encoder(
            "mobilenetv2", "block_6_expand_relu", weights, "block_6_expand"
        )
        assert cut.frozen.layer == "block_5_add"
        cut.live.save(tmp_path / "live.keras")
        live = keras.saving.load_model(tmp_path / "live.keras")
        # A kernel, and scale and shift.
        assert len(live.trainable_variables) == (1 if stays else 3)
        before = live.get_weights()
        one = np.asarray(live(features))
        other = np.asarray(live(features, training=True))
        assert stays == (np.abs(one - other).max() < 1e-6)
        pairs = zip(before, live.get_weights(), strict=True)
        changed = sum(np.any(old != new) for old, new in pairs)
        # Means and variances move on.
        assert changed == (0 if stays else 2)


def test_scenes_from_scratch_are_normalised():
    cut = cut_encoder("scenes", None, "none", "all")
    assert cut.frozen.layer == "pixels"
    # Kernel, scale and shift of each of seven convolutions.
    assert len(cut.live.trainable_variables) == 3 * 7
    images = pixels(8, 112).reshape(8, -1, 3)
    outputs = np.asarray(cut.live(images, training=True))
    assert outputs.shape == (8, 14, 14, 128)
    # Half of what is normalised is positive, with a mean square of one.
    assert 0.4 < (outputs > 0).mean() < 0.6
    assert np.square(outputs).mean() == pytest.approx(0.5, abs=0.1)


def test_mixed_precision_keeps_weights_and_nearly_the_result():
    exact = cut_encoder("scenes", None, "none", "block3_conv1")
    mixed = cut_encoder(
        "scenes", None, "none", "block3_conv1", dtype="mixed_bfloat16"
    )
    assert {w.dtype for w in mixed.live.weights} == {"float32"}
    features = exact.frozen.model(pixels(2, 112))
    outputs = mixed.live(features)
    assert outputs.dtype == "bfloat16"
    expected = np.asarray(exact.live(features))
    error = np.abs(np.asarray(outputs, np.float32) - expected).max()
    assert 0 < error < 0.03 * expected.max()


def test_efficientnet_lite0_is_cut_between_its_blocks():
    cut = cut_encoder(
        "efficientnet_lite0", None, "default", "block6d_expand_conv"
    )
    assert (cut.frozen.layer, cut.frozen.depth) == ("block6c_add", 192)
    images = pixels(1, 224)
    np.testing.assert_allclose(
        through(cut, images), np.asarray(cut.uncut.model(images)), atol=1e-4
    )
    # Three kernels of each of two blocks; normalisation is pretrained.
    assert len(cut.live.trainable_variables) == 6
    with pytest.raises(UserError, match="no path leads round.*block7a_expand"):
        cut_encoder("efficientnet_lite0", None, "default", "block6d_dwconv")


def test_refused_cuts():
    def refused(finetune, *texts):
        with pytest.raises(UserError) as caught:
            cut_encoder("mobilenetv2", "block_5_add", "none", finetune)
        for text in (*texts, f"finetune={finetune!r}", "block_4_expand"):
            assert text in str(caught.value)

    with pytest.raises(UserError, match="one encoder.*with --finetune"):
        cut_encoder("vgg16+scenes", None, "none", "all")
    with pytest.raises(UserError, match="one layer with --finetune"):
        cut_encoder("scenes", "block4_conv2+block3_conv2", "none", "all")
    # A residual connection leads from block_3_project_BN round it.
    refused("block_4_depthwise", "no path leads round")
    refused("block_9_expand", "lies above", "block_5_add")
    refused("block99", "does not have")
    cut = cut_encoder("mobilenetv2", "block_5_add", "none", "block_4_expand")
    assert cut.frozen.layer == "block_3_project_BN"
