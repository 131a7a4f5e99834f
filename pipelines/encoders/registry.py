"""Builds encoders by name, whatever kind of network they are."""

import dataclasses
from collections.abc import Callable

import keras

from pipelines.encoders import keras_hub_backbones
from pipelines.encoders.common_grid import JOIN
from pipelines.encoders.efficientnet_lite0 import efficientnet_lite0
from pipelines.encoders.encoder import (
    PIXELS,
    Encoder,
    Network,
    frozen_encoder,
    pixels_encoder,
    rescaling,
)
from pipelines.encoders.keras_applications import (
    application_image_size,
    load_application,
)
from pipelines.encoders.scenes_network import scenes_network
from pipelines.encoders.several_layers import several_layers
from pipelines.encoders.side_by_side import side_by_side, split_names
from pipelines.encoders.weights_files import build_weighted, packaged_weights
from pipelines.errors import UserError


@dataclasses.dataclass(frozen=True)
class _PackagedNetwork:
    """A network of this package; a pixel x becomes x * scale + offset."""

    build: Callable[[], keras.Model]
    image_size: int
    default_layer: str
    scale: float
    offset: float
    preprocessing: str


_PACKAGED = {
    "scenes": _PackagedNetwork(
        scenes_network, 112, "block4_conv2", 1 / 127.5, -1.0, "x / 127.5 - 1"
    ),
    "efficientnet_lite0": _PackagedNetwork(
        efficientnet_lite0,
        224,
        "block7a_project_bn",
        1 / 128,
        -127 / 128,
        "(x - 127) / 128",
    ),
}


def build_encoder(
    name: str, layer: str | None = None, weights: str = "default"
) -> Encoder:
    """Builds an encoder with its weights.

    Args:
        name: `"vgg19"`, `"vgg16"`, any other of `keras.applications` in
            lower case, `"efficientnet_lite0"` (for devices), `"scenes"`
            (for the rendered scenes), or `"keras_hub:PRESET"` (an image
            backbone of keras-hub by its preset's name or folder). Several,
            joined by `+`, see an image side by side.
        layer: Name of a layer with locations. By default `block5_conv4` of
            vgg19, `block5_conv3` of vgg16, `block7a_project_bn` of
            efficientnet_lite0, `block4_conv2` of scenes, the last one of a
            backbone of keras-hub; other encoders have no default.
            `"pixels"` gives the pixels themselves, whatever the weights. Of
            one encoder several layers, joined by `+`, are side by side on
            the grid of the first, see `several_layers`; of several encoders
            one layer each, joined likewise.
        weights: `"default"` (ImageNet, downloaded once by Keras; those of
            efficientnet_lite0 and scenes come with the package), `"none"`
            (random, always the same), or an HDF5 file that `load_weights`
            of the network without its top reads: `.weights.h5`, or the
            `_notop.h5` that Keras publishes. A file is of the first network;
            others then have their default. Of keras-hub, a folder of
            another preset too.

    Returns:
        The encoder, frozen, its batch normalisation in inference mode.

    Raises:
        UserError: The name, the layer or the weights cannot be had.

    Example:
        >>> encoder = build_encoder("efficientnet_lite0")
        >>> encoder.model.predict(np.zeros((1, 224, 224, 3), "uint8")).shape
        (1, 49, 320)
    """
    if keras.config.image_data_format() != "channels_last":
        raise UserError(
            "Expected Keras' image_data_format to be channels_last. "
            f"Received: {keras.config.image_data_format()}. Change it in "
            "~/.keras/keras.json."
        )
    if JOIN in name:
        parts = split_names(name, layer, weights)
        return side_by_side([build_encoder(*part) for part in parts])
    if layer == PIXELS:
        packaged = _PACKAGED.get(name)
        size = packaged.image_size if packaged else application_image_size(name)
        return pixels_encoder(name, size)
    network = load_network(name, weights)
    if JOIN in (layer or ""):
        return several_layers(network, layer)
    return frozen_encoder(network, layer)


def load_network(name: str, weights: str) -> Network:
    """Builds one network without its top; arguments as of `build_encoder`."""
    if name.startswith(keras_hub_backbones.PREFIX):
        return keras_hub_backbones.load_backbone(name, weights)
    if name not in _PACKAGED:
        return load_application(name, weights)
    packaged = _PACKAGED[name]
    if weights == "default":
        weights = packaged_weights(name)
    return Network(
        name=name,
        model=build_weighted(packaged.build, name, weights),
        image_size=packaged.image_size,
        preprocess=rescaling(packaged.scale, packaged.offset),
        preprocessing=packaged.preprocessing,
        default_layer=packaged.default_layer,
    )
