"""Backbones of keras-hub give what they give under keras-hub itself."""

import os
import shutil

import keras
import numpy as np
import pytest

from pipelines.encoders.fine_tuning import cut_encoder
from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from pipelines.files import read_json
from tests.pipelines.encoders.presets import (
    IMAGE_SIZE,
    build_backbone,
    save_preset,
)


def pixels(size=IMAGE_SIZE):
    generator = np.random.default_rng(0)
    return generator.integers(0, 256, (2, size, size, 3), np.uint8)


def features(folder, layer=None):
    """What keras-hub itself makes of the same pixels."""
    import keras_hub

    backbone = keras_hub.models.Backbone.from_preset(folder)
    backbone = getattr(backbone, "vision_encoder", backbone)
    config = read_json(os.path.join(folder, "image_converter.json"))
    converter = keras.saving.deserialize_keras_object(config)
    if layer:
        output = backbone.get_layer(layer).output
        backbone = keras.Model(backbone.inputs, output)
    inputs = converter(pixels().astype(np.float32))
    if isinstance(backbone.input, dict):
        inputs = {name: inputs for name in backbone.input}
    return np.asarray(backbone(inputs))


@pytest.mark.parametrize(
    ("kind", "layer", "grid", "depth"),
    [
        ("vgg", "block3_pool", (4, 4), 16),
        ("resnet", "stack1_block0_out", (4, 4), 16),
        ("mobilenet", "block_2_0", (8, 8), 8),
        ("efficientnet", "top_activation", (4, 4), 1280),
    ],
)
def test_feature_maps(tmp_path, kind, layer, grid, depth):
    folder = save_preset(tmp_path, kind)
    encoder = build_encoder(f"keras_hub:{folder}")
    assert (encoder.layer, encoder.grid, encoder.depth) == (layer, grid, depth)
    assert encoder.image_size == IMAGE_SIZE
    annotations = np.asarray(encoder.model(pixels()))
    assert annotations.dtype == np.float32
    expected = features(folder).reshape(2, -1, depth)
    np.testing.assert_allclose(annotations, expected, atol=1e-5)
    assert expected.std() > 0
    assert not encoder.model.trainable_variables


@pytest.mark.parametrize(
    ("kind", "tokens_before"),
    [("vit", 1), ("deit", 2), ("dinov2", 1 + 4), ("swin", 0)]
    + [("clip", 1), ("clip_tower", 1)],
)
def test_patch_tokens(tmp_path, kind, tokens_before):
    folder = save_preset(tmp_path, kind)
    encoder = build_encoder(f"keras_hub:{folder}")
    assert (encoder.grid, encoder.depth) == ((4, 4), 16)
    tokens = features(folder)
    assert tokens.shape == (2, tokens_before + 16, 16)
    np.testing.assert_allclose(
        encoder.model(pixels()), tokens[:, tokens_before:], atol=1e-5
    )


@pytest.mark.parametrize("kind", ["siglip", "siglip_tower"])
def test_siglip_has_tokens_below_its_pooled_output(tmp_path, kind):
    folder = save_preset(tmp_path, kind)
    encoder = build_encoder(f"keras_hub:{folder}")
    assert encoder.layer.endswith("post_layer_norm")
    tokens = features(folder, encoder.layer)
    assert tokens.shape == (2, 16, 16)
    np.testing.assert_allclose(encoder.model(pixels()), tokens, atol=1e-5)


def test_a_named_layer(tmp_path):
    folder = save_preset(tmp_path, "clip_tower")
    layer = "tower_encoder_block_0"
    encoder = build_encoder(f"keras_hub:{folder}", layer)
    np.testing.assert_allclose(
        encoder.model(pixels()), features(folder, layer)[:, 1:], atol=1e-5
    )
    assert encoder.digest != build_encoder(f"keras_hub:{folder}").digest
    with pytest.raises(UserError, match="--encoder_layer=LAYER.*block_1"):
        build_encoder(f"keras_hub:{folder}", "block9")


def test_the_image_converter_prepares_pixels(tmp_path):
    folder = save_preset(tmp_path, "vgg", image_size=40)
    encoder = build_encoder(f"keras_hub:{folder}")
    # Of a network of any size the converter has the image size.
    assert (encoder.image_size, encoder.grid) == (40, (5, 5))
    assert encoder.preprocessing == (
        "x * [0.01, 0.02, 0.03] + [-1.0, 0.0, 0.5]"
    )
    # One that is fixed has its own.
    other = save_preset(tmp_path / "vit", "vit", image_size=40)
    assert build_encoder(f"keras_hub:{other}").image_size == IMAGE_SIZE


def test_weights(tmp_path, monkeypatch):
    folder = save_preset(tmp_path / "here", "vit")
    encoder = build_encoder(f"keras_hub:{folder}")
    none = [build_encoder(f"keras_hub:{folder}", None, "none") for _ in "ab"]
    assert encoder.digest != none[0].digest == none[1].digest
    # Relative or not, it is the same encoder; and where it has moved.
    monkeypatch.chdir(tmp_path)
    assert build_encoder("keras_hub:here").name == encoder.name
    shutil.move(folder, tmp_path / "there")
    moved = build_encoder(encoder.name, None, str(tmp_path / "there"))
    assert (moved.name, moved.digest) == (encoder.name, encoder.digest)
    # A file of weights.
    save_preset(tmp_path / "other", "vit")
    path = str(tmp_path / "some.weights.h5")
    build_backbone("vit").save_weights(path)
    other = build_encoder("keras_hub:other", None, path)
    assert other.digest not in (encoder.digest, none[0].digest)
    (tmp_path / "some.weights.h5").write_bytes(b"\x89HDF\r\n\x1a\n")
    with pytest.raises(UserError, match="does not fit"):
        build_encoder("keras_hub:other", None, path)


def test_side_by_side(tmp_path):
    names = [
        f"keras_hub:{save_preset(tmp_path / kind, kind)}"
        for kind in ("dinov2", "vgg")
    ]
    both = build_encoder("+".join(names))
    assert (both.grid, both.depth) == ((4, 4), 32)
    parts = [build_encoder(name).model(pixels()) for name in names]
    np.testing.assert_allclose(
        both.model(pixels()), np.concatenate(parts, -1), atol=1e-5
    )


def test_presets_that_cannot_be_had(tmp_path):
    def refused(preset, message):
        with pytest.raises(UserError, match=message) as caught:
            build_encoder(f"keras_hub:{preset}")
        return str(caught.value)

    text = refused("no_such_preset", "Unknown preset identifier")
    assert "save_to_preset(FOLDER)" in text
    assert "--encoder=keras_hub:FOLDER" in text
    refused(tmp_path, "has no config.json")
    folder = save_preset(tmp_path / "vgg", "vgg")
    os.remove(os.path.join(folder, "image_converter.json"))
    refused(folder, "image_converter.json")
    refused(save_preset(tmp_path / "bert", "bert"), "takes only images")
    with pytest.raises(UserError, match="one encoder of keras.applications"):
        cut_encoder(f"keras_hub:{folder}", None, "default", "all")


def test_offline(monkeypatch):
    def no_network(*args):
        raise OSError("Failed to resolve 'api.kaggle.com'")

    monkeypatch.setattr("kagglehub.model_download", no_network)
    with pytest.raises(UserError, match=r"cannot be had: .*kaggle.*FOLDER"):
        build_encoder("keras_hub:vit_base_patch16_224_imagenet")
