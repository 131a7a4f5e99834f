"""Image backbones of keras-hub as encoders, `keras_hub:PRESET`.

Annotations are a feature map of a convolutional network (VGG, ResNet,
EfficientNet, MobileNet, ...) or the patch tokens of a vision transformer
(ViT, DINOv2, the vision towers of CLIP and SigLIP, ...), without its class
and register tokens. The preset's own image converter prepares the pixels.
"""

import dataclasses
import os

import keras

from pipelines.encoders.encoder import Network, layers_with_locations, rescaling
from pipelines.encoders.weights_files import (
    check_weights_file,
    first_line,
    initialise,
    load_weights,
)
from pipelines.errors import UserError
from pipelines.files import read_json

PREFIX = "keras_hub:"
# Of images where neither backbone nor converter fixes it.
_IMAGE_SIZE = 224
_CONVERTER_FILE = "image_converter.json"


def load_backbone(name: str, weights: str) -> Network:
    """Loads the backbone of `keras_hub:PRESET`.

    A preset is a name, a handle such as `hf://user/model`, or a folder that
    `save_to_preset` of the backbone (or its task) and of the image converter
    wrote. The weights are `"default"` (the preset's), `"none"` (random, always
    the same), a file, or the folder of a preset that takes the place of PRESET.
    """
    preset = name.removeprefix(PREFIX)
    source = weights if os.path.isdir(weights) else preset
    if weights not in ("default", "none", source):
        check_weights_file(name, weights)
    backbone, converter = _load_preset(source, weights in ("default", source))
    # CLIP and SigLIP have another tower, for texts.
    backbone = getattr(backbone, "vision_encoder", backbone)
    size = _image_size(name, backbone, converter)
    model = _of_image_size(backbone, size)
    if weights == "none":
        initialise(model)
    elif os.path.isfile(weights):
        load_weights(model, name, weights)
    scale = 1.0 if converter.scale is None else converter.scale
    offset = 0.0 if converter.offset is None else converter.offset
    if os.path.isdir(preset):
        name = PREFIX + os.path.abspath(preset)
    patch = getattr(backbone, "patch_size", None)
    network = Network(
        name=name,
        model=model,
        image_size=size,
        preprocess=rescaling(scale, offset),
        preprocessing=f"x * {scale} + {offset}",
        patch_size=patch[0] if isinstance(patch, tuple | list) else patch,
    )
    *_, last = layers_with_locations(network) or [None]
    return dataclasses.replace(network, default_layer=last)


def _load_preset(preset: str, with_weights: bool):
    """Returns the backbone and the image converter of a preset."""
    import keras_hub

    try:
        backbone = keras_hub.models.Backbone.from_preset(
            preset, load_weights=with_weights, dtype="float32"
        )
        path = os.path.join(preset, _CONVERTER_FILE)
        if os.path.isfile(path):
            # Its class need not be registered for this very backbone, as
            # where a vision tower was saved by itself.
            converter = keras.saving.deserialize_keras_object(read_json(path))
        else:
            converter = keras_hub.layers.ImageConverter.from_preset(preset)
    except Exception as error:  # keras-hub and its sources raise many kinds.
        raise UserError(
            f"The preset {preset!r} of keras-hub cannot be had: "
            f"{first_line(error)}. Give the name of a preset with an image "
            "backbone and a way to download it, or its folder: where it can "
            "be downloaded, save_to_preset(FOLDER) of "
            "keras_hub.models.Backbone.from_preset(PRESET) and of "
            "keras_hub.layers.ImageConverter.from_preset(PRESET), then "
            f"--encoder={PREFIX}FOLDER."
        ) from error
    if not isinstance(converter, keras_hub.layers.ImageConverter):
        raise UserError(
            f"Expected an image converter in {path}. Received: "
            f"{type(converter).__name__}."
        )
    return backbone, converter


def _image_size(name: str, backbone: keras.Model, converter) -> int:
    """The side of the backbone's images, or else of the converter's."""
    shapes = [x.shape[1:3] for x in backbone.inputs if len(x.shape) == 4]
    if len(shapes) != 1 or len(backbone.inputs) != 1:
        raise UserError(
            f"Expected a backbone that takes only images. Received: {name}, "
            f"a {type(backbone).__name__}."
        )
    (sides,) = shapes
    if None in sides:
        sides = converter.image_size or (_IMAGE_SIZE, _IMAGE_SIZE)
    height, width = sides
    if height != width:
        raise UserError(
            f"Expected a backbone of square images. Received: {name}, of "
            f"{height} x {width} pixels."
        )
    return height


def _of_image_size(backbone: keras.Model, size: int) -> keras.Model:
    """Returns the backbone with an input of fixed size."""
    if None not in backbone.inputs[0].shape[1:]:
        return backbone
    config = backbone.get_config()
    key = "image_shape" if "image_shape" in config else "input_shape"
    fixed = backbone.from_config({**config, key: (size, size, 3)})
    fixed.set_weights(backbone.get_weights())
    return fixed
