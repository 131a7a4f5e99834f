"""Encoders: the right network, pixels prepared as it was trained on."""

import functools
import pathlib
import urllib.error

import keras
import numpy as np
import pytest
from PIL import Image

from pipelines.encoders.common_grid import no_finer_than_first
from pipelines.encoders.encoder import features_of
from pipelines.encoders.keras_applications import (
    IMAGE_SIZES,
    ApplicationPreprocessing,
)
from pipelines.encoders.registry import build_encoder
from pipelines.encoders.scenes_network import scenes_network
from pipelines.encoders.weights_files import packaged_weights, weights_digest
from pipelines.errors import UserError


def pixels(count, size, seed=0):
    generator = np.random.default_rng(seed)
    return generator.integers(0, 256, (count, size, size, 3), np.uint8)


def photos(folder, count):
    paths = sorted(pathlib.Path(folder, "images").iterdir())[:count]
    return np.stack([np.asarray(Image.open(path)) for path in paths])


def run(model, images):
    return np.asarray(model.predict_on_batch(images))


@functools.cache
def vgg16(weights):
    return build_encoder("vgg16", weights=weights)


@pytest.fixture(scope="module")
def scenes():
    return build_encoder("scenes", weights="none")


@pytest.fixture(scope="module")
def lite0():
    return build_encoder("efficientnet_lite0")


def test_vgg16_is_keras_vgg16_on_photos(vgg16_weights, flickr8k_dir):
    encoder = vgg16(vgg16_weights)
    images = photos(flickr8k_dir, 2)
    network = keras.applications.VGG16(include_top=False, weights=None)
    network.load_weights(vgg16_weights)
    layer = network.get_layer("block5_conv3")
    expected = run(
        keras.Model(network.input, layer.output),
        keras.applications.vgg16.preprocess_input(images.astype(np.float32)),
    )
    annotations = run(encoder.model, images)
    assert (encoder.layer, encoder.image_size) == ("block5_conv3", 224)
    assert (encoder.grid, encoder.depth) == ((14, 14), 512)
    assert annotations.dtype == np.float32
    np.testing.assert_array_equal(annotations, expected.reshape(2, 196, 512))
    # What is published of these weights on such photos.
    assert 0.85 < (annotations == 0).mean() < 0.97
    assert 15 < annotations.max() < 90


def test_the_default_layer_of_vgg19():
    encoder = build_encoder("vgg19", weights="none")
    assert encoder.layer == "block5_conv4"
    assert (encoder.grid, encoder.depth) == ((14, 14), 512)
    features = features_of(encoder)
    names = [layer.name for layer in features.layers]
    assert names[-1] == "block5_conv4" and "block5_pool" not in names


@pytest.mark.parametrize(
    ("names", "by_hand"),
    [
        (
            ("vgg16", "vgg19", "resnet50"),
            lambda x: x[..., ::-1] - [103.939, 116.779, 123.68],
        ),
        (("mobilenetv2", "xception", "resnet50v2"), lambda x: x / 127.5 - 1),
        (
            ("densenet121",),
            lambda x: (x / 255 - [0.485, 0.456, 0.406]) / [0.229, 0.224, 0.225],
        ),
        (("efficientnetb0", "mobilenetv3small", "convnexttiny"), lambda x: x),
    ],
    ids=["bgr minus mean", "-1 to 1", "normalised", "inside the network"],
)
def test_each_encoder_has_its_preprocessing(names, by_hand):
    images = pixels(2, 8)
    for name in names:
        outputs = np.asarray(ApplicationPreprocessing(name)(images))
        assert outputs.dtype == np.float32
        expected = by_hand(images.astype(np.float64))
        np.testing.assert_allclose(outputs, expected, atol=1e-4)


def test_another_application_at_a_named_layer():
    encoder = build_encoder("mobilenetv2", "block_13_expand_relu", "none")
    assert (encoder.grid, encoder.depth) == ((14, 14), 576)
    images = pixels(2, 224)
    outputs = run(encoder.model, images)
    assert outputs.shape == (2, 196, 576)
    # Batch normalisation stays in inference mode, whatever is asked.
    trained = np.asarray(encoder.model(images, training=True))
    np.testing.assert_allclose(trained, outputs, atol=2e-3)
    assert not encoder.model.trainable_weights


def test_scenes(scenes):
    assert scenes.image_size == 112
    assert (scenes.grid, scenes.depth) == ((14, 14), 128)
    images = pixels(3, 112)
    network = scenes_network()
    network.set_weights(scenes.model.get_weights())
    expected = run(network, images / np.float32(127.5) - 1)
    np.testing.assert_allclose(
        run(scenes.model, images), expected.reshape(3, 196, 128), atol=1e-5
    )


def test_side_by_side_a_location_has_the_annotations_of_all(
    vgg16_weights, flickr8k_dir, lite0
):
    both = build_encoder("vgg16+efficientnet_lite0", None, vgg16_weights)
    first = vgg16(vgg16_weights)  # The file is of the first.
    assert both.name == "vgg16+efficientnet_lite0"
    assert both.layer == "block5_conv3+block7a_project_bn"
    assert (both.grid, both.depth) == ((14, 14), 512 + 320)
    # Of the weights in the order of the names, however the graph has them.
    assert both.digest == weights_digest(first.model, lite0.model)
    assert both.digest not in (first.digest, lite0.digest)
    images = photos(flickr8k_dir, 2)
    annotations = run(both.model, images)
    np.testing.assert_array_equal(
        annotations[..., :512], run(first.model, images)
    )
    # Each location of a coarser grid is in four of a finer one.
    coarse = run(lite0.model, images).reshape(2, 7, 7, 320)
    expected = 0.3 * coarse.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(
        annotations[..., 512:], expected.reshape(2, 196, 320), atol=1e-5
    )
    assert both.parts == ((14, 14, 512), (7, 7, 320))
    # On photos both vary alike.
    spread = annotations[..., 512:].std() / annotations[..., :512].std()
    assert 0.7 < spread < 1.4


@pytest.mark.parametrize(
    ("name", "layer", "message"),
    [
        ("vgg16+", None, "Expected an encoder"),
        ("vgg16+scenes", None, "images of one size.*112"),
        ("vgg16+efficientnet_lite0", "block5_conv3", "a layer for each"),
        ("vgg16+efficientnet_lite0", "pixels+pixels", "a layer for each"),
        ("vgg16+efficientnet_lite0", "pixels", "a layer for each"),
    ],
)
def test_what_cannot_stand_side_by_side(name, layer, message):
    with pytest.raises(UserError, match=message):
        build_encoder(name, layer, "none")


def features(name, layer, weights, images):
    """A layer's outputs on prepared pixels (B, rows, columns, D)."""
    encoder = build_encoder(name, layer, weights)
    shape = (len(images), *encoder.grid, encoder.depth)
    return run(encoder.model, images).reshape(shape)


def test_layers_side_by_side_are_those_of_each_in_one_pass(flickr8k_dir):
    name, layers = "efficientnet_lite0", ("block5c_add", "block7a_project_bn")
    encoder = build_encoder(name, "+".join(layers))
    assert (encoder.name, encoder.grid) == (name, (14, 14))
    assert encoder.parts == ((14, 14, 112), (7, 7, 320))
    assert encoder.depth == 432
    # One network, of as many weights.
    last = build_encoder(name, layers[-1])
    assert encoder.model.count_params() == last.model.count_params()

    images = photos(flickr8k_dir, 4)
    annotations = run(encoder.model, images).reshape(4, 14, 14, 432)
    fine, coarse = (features(name, each, "default", images) for each in layers)
    np.testing.assert_allclose(annotations[..., :112], fine, atol=1e-3)
    # The scale is in the name; with it both vary alike.
    first, scaled = encoder.layer.split("+")
    assert first == "block5c_add"
    last, scale = scaled.split(":")
    repeated = float(scale) * coarse.repeat(2, axis=1).repeat(2, axis=2)
    np.testing.assert_allclose(annotations[..., 112:], repeated, atol=1e-3)
    assert 0.7 < annotations[..., 112:].std() / fine.std() < 1.4
    # By which it is built again; and others are others.
    again = build_encoder(name, encoder.layer)
    assert (again.layer, again.digest) == (encoder.layer, encoder.digest)
    np.testing.assert_array_equal(
        run(again.model, images), annotations.reshape(4, 196, 432)
    )


def test_a_finer_layer_is_averaged_on_the_grid_of_the_first():
    layer = "block4_conv2+block3_conv2:0.5"
    encoder = build_encoder("scenes", layer, "none")
    assert encoder.parts == ((14, 14, 128), (14, 14, 64))
    assert encoder.layer == layer  # Nothing is measured.
    images = pixels(2, 112)
    fine = features("scenes", "block3_conv2", "none", images)
    expected = 0.5 * fine.reshape(2, 14, 2, 14, 2, 64).mean((2, 4))
    annotations = run(encoder.model, images)[..., 128:]
    np.testing.assert_allclose(
        annotations, expected.reshape(2, 196, 64), rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ("block4_conv2+block9", "layer of scenes.*block9.*--encoder_layer"),
        ("block4_conv2+", "layer of scenes"),
        ("block4_conv2+pixels", "layer of scenes.*pixels"),
        ("block4_conv2+block4_conv2", "different layers"),
        ("block4_conv2+block3_conv2:0", "block7a_project_bn:2.5.*conv2:0"),
        ("block4_conv2:x+block3_conv2", "scales from.*conv2:x"),
        ("block4_conv2:nan+block3_conv2", "scales from.*conv2:nan"),
    ],
)
def test_layers_that_cannot_stand_side_by_side(layer, message):
    with pytest.raises(UserError, match=message):
        build_encoder("scenes", layer, "none")


def test_grids_that_do_not_divide_each_other():
    maps = [keras.Input((35, 35, 2)), keras.Input((17, 17, 3))]
    message = r"mixed2 of \(35, 35\) locations, mixed7 of \(17, 17\)"
    with pytest.raises(UserError, match=message):
        no_finer_than_first(maps, ["mixed2", "mixed7"])


def test_pixels_are_the_annotations_of_an_encoder_that_learns():
    # No weights are read: there are none in it.
    encoder = build_encoder("vgg16", "pixels", "/nowhere.h5")
    assert (encoder.image_size, encoder.depth) == (224, 3)
    assert encoder.grid == (224, 224) and not encoder.model.weights
    images = pixels(2, 224)
    outputs = run(encoder.model, images)
    assert outputs.dtype == np.float32
    np.testing.assert_array_equal(outputs, images.reshape(2, -1, 3))
    with pytest.raises(UserError, match="Expected an encoder"):
        build_encoder("vgg20", "pixels")


def test_default_and_random_weights(scenes):
    loaded = build_encoder("scenes", weights=packaged_weights("scenes"))
    assert build_encoder("scenes").digest == loaded.digest
    assert loaded.digest != scenes.digest
    again = build_encoder("scenes", weights="none")
    assert again.digest == scenes.digest
    assert len(scenes.digest) == 64
    # He's rule: about half of a convolution's outputs are positive, and
    # their size neither vanishes nor explodes.
    outputs = run(scenes.model, pixels(2, 112))
    assert 0.2 < (outputs > 0).mean() < 0.8 and 0.01 < outputs.std() < 100


def test_digest_follows_values_and_not_the_file(scenes, tmp_path):
    network = scenes_network()
    network.set_weights(scenes.model.get_weights())
    assert weights_digest(network) == scenes.digest
    path = tmp_path / "some.weights.h5"
    network.save_weights(path)
    loaded = build_encoder("scenes", weights=str(path))
    assert loaded.digest == scenes.digest
    bias = network.layers[-1].bias
    bias.assign(bias + 1e-3)
    assert weights_digest(network) != scenes.digest


def test_a_saved_encoder_is_the_same(tmp_path, scenes):
    mobilenet = build_encoder("mobilenetv2", "block_3_expand_relu", "none")
    for encoder in (scenes, mobilenet):
        path = tmp_path / f"{encoder.name}.keras"
        encoder.model.save(path)
        images = pixels(1, encoder.image_size)
        loaded, expected = keras.saving.load_model(path), encoder.model
        np.testing.assert_array_equal(loaded(images), expected(images))


def test_unknown_names_and_layers():
    for name in ("vgg20", "VGG19", "", "__name__"):
        with pytest.raises(UserError, match="vgg19, vgg16, .*scenes.*Received"):
            build_encoder(name, weights="none")
    for layer in (None, "block9"):
        with pytest.raises(UserError, match="--encoder_layer=LAYER.*out_relu"):
            build_encoder("mobilenetv2", layer, "none")


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_malformed_weights(tmp_path, scenes):
    def refused(name, data, message):
        path = tmp_path / name
        path.write_bytes(data)
        with pytest.raises(UserError, match=message) as caught:
            build_encoder("scenes", weights=str(path))
        assert "--encoder_weights=FILE" in str(caught.value)

    good = tmp_path / "good.weights.h5"
    network = scenes_network()
    network.save_weights(good)
    refused("empty.weights.h5", b"", "0 bytes")
    refused("text.weights.h5", b"weights", "HDF5")
    refused("cut.weights.h5", good.read_bytes()[:5000], "does not fit")
    refused("noise.weights.h5", b"\x89HDF\r\n\x1a\n" + b"\1" * 999, "not fit")
    refused("named.bin", good.read_bytes(), "does not fit")
    other = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3)])
    other.save_weights(tmp_path / "other.weights.h5")
    other = (tmp_path / "other.weights.h5").read_bytes()
    refused("wrong.weights.h5", other, "does not fit")
    for path in (tmp_path, tmp_path / "none.weights.h5", "a\0b"):
        with pytest.raises(UserError, match="--encoder_weights=FILE"):
            build_encoder("scenes", weights=str(path))


@pytest.mark.filterwarnings("ignore:Skipping nested container")
def test_weights_of_another_encoder(vgg16_weights):
    with pytest.raises(UserError, match="weights of vgg19.*does not fit"):
        build_encoder("vgg19", weights=vgg16_weights)


def test_a_download_that_fails(tmp_path, monkeypatch):
    def offline(url, *args):
        raise urllib.error.URLError("no route to host")

    monkeypatch.setattr("keras.src.utils.file_utils.urlretrieve", offline)
    monkeypatch.setattr("keras.src.backend.config._KERAS_DIR", str(tmp_path))
    with pytest.raises(UserError, match="--encoder_weights=FILE") as caught:
        build_encoder("vgg19")
    file = "vgg19_weights_tf_dim_ordering_tf_kernels_notop.h5"
    assert file in str(caught.value)


@pytest.mark.proof
def test_image_sizes_are_those_of_the_applications():
    for name in dir(keras.applications):
        if name[0].isupper() and "XLarge" not in name:
            keras.backend.clear_session()
            network = getattr(keras.applications, name)(weights=None)
            size = IMAGE_SIZES.get(name.lower(), 224)
            sides = network.input_shape[1:3]
            # MobileNetV3 takes images of any size.
            assert sides in ((size, size), (None, None)), name
