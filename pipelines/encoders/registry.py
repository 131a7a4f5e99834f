"""Encoders by name: images -> annotations a_i, one vector a location.

An encoder is a convolutional network, cut off at a layer that still knows
where things are. Whatever it needs done to pixels (channel order, mean,
range) lies inside its model, which is given uint8 RGB.
"""

import contextlib
import dataclasses
import hashlib
import os
import pathlib
import sys
from collections.abc import Callable

import keras
import numpy as np

from pipelines.encoders.efficientnet_lite0 import efficientnet_lite0
from pipelines.encoders.scenes_network import scenes_network
from pipelines.errors import UserError

# The layer taken where none is asked for.
DEFAULT_LAYERS = {
    "vgg19": "block5_conv4",
    "vgg16": "block5_conv3",
    "scenes": "block4_conv2",
    "efficientnet_lite0": "block7a_project_bn",
}

# Side of the image that an encoder was trained on; 224 for the others.
IMAGE_SIZES = {
    "scenes": 112,
    "inceptionv3": 299,
    "inceptionresnetv2": 299,
    "xception": 299,
    "nasnetlarge": 331,
    "efficientnetb1": 240,
    "efficientnetb2": 260,
    "efficientnetb3": 300,
    "efficientnetb4": 380,
    "efficientnetb5": 456,
    "efficientnetb6": 528,
    "efficientnetb7": 600,
    "efficientnetv2b1": 240,
    "efficientnetv2b2": 260,
    "efficientnetv2b3": 300,
    "efficientnetv2s": 384,
    "efficientnetv2m": 480,
    "efficientnetv2l": 480,
}

# Between the names of encoders that look at one image side by side.
JOIN = "+"
# What annotations are multiplied by before they stand beside those of other
# encoders, so that all vary about as much as VGG's.
_BESIDE = {"efficientnet_lite0": 0.3}

# In place of a layer: what the encoder is given, for one that learns.
PIXELS = "pixels"

# The networks of this package, which Keras does not have.
_NETWORKS = {
    "scenes": scenes_network,
    "efficientnet_lite0": efficientnet_lite0,
}
# What they are given for a pixel x: x * scale + offset, and that in words.
_RESCALINGS = {
    "scenes": (1 / 127.5, -1.0, "x / 127.5 - 1"),
    "efficientnet_lite0": (1 / 128, -127 / 128, "(x - 127) / 128"),
}

_WEIGHTS = pathlib.Path(__file__).parent / "weights"
SCENES_WEIGHTS = _WEIGHTS / "scenes.weights.h5"

MAX_WEIGHTS_BYTES = 4 * 2**30
# How many layers an error message lists.
_LAYERS_NAMED = 24
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


@dataclasses.dataclass(frozen=True)
class Encoder:
    """A network from images to annotations.

    Attributes:
        name: The name that chose it, such as `"vgg19"`.
        layer: The layer whose output the annotations are.
        image_size: Side of its images in pixels.
        grid: Rows and columns of the locations; L is their product.
        depth: Size D of one annotation.
        digest: SHA-256 of its weights, whatever file they came from.
        model: uint8 (B, image_size, image_size, 3) RGB -> float32 (B, L, D);
            locations row by row.
        preprocessing: What the model does to pixels first, in words.
    """

    name: str
    layer: str
    image_size: int
    grid: tuple[int, int]
    depth: int
    digest: str
    model: keras.Model
    preprocessing: str


@keras.saving.register_keras_serializable(package="pipelines")
class ApplicationPreprocessing(keras.layers.Layer):
    """Pixels as one of `keras.applications` wants them.

    Call arguments:
        images: (B, H, W, 3), RGB, 0 to 255, of any dtype.

    Returns:
        float32 (B, H, W, 3).
    """

    def __init__(self, application: str, **kwargs: object) -> None:
        """Creates the layer.

        Args:
            application: Name of the application in lower case, such as
                `"vgg19"`.
            **kwargs: Of `keras.layers.Layer`.

        Raises:
            UserError: There is no such application.
        """
        super().__init__(**kwargs)
        self.application = application
        self._preprocess_input = _module(application).preprocess_input

    def call(self, images):
        """Prepares a batch of images."""
        images = keras.ops.cast(images, "float32")
        return self._preprocess_input(images, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "application": self.application}


def build_encoder(
    name: str, layer: str | None = None, weights: str = "default"
) -> Encoder:
    """Builds an encoder with its weights.

    Args:
        name: `"vgg19"`, `"vgg16"`, any other of `keras.applications` in
            lower case, `"efficientnet_lite0"` (for devices), or `"scenes"`
            (for the drawn scenes). Several, joined by `+`, look at an image
            side by side, see `_side_by_side`.
        layer: Name of a layer with a 4-D output. By default
            `block5_conv4` of vgg19, `block5_conv3` of vgg16,
            `block7a_project_bn` of efficientnet_lite0, `block4_conv2` of
            scenes; other encoders have no default. `"pixels"` gives the
            pixels themselves, whatever the weights. Of several encoders
            those of all, joined likewise.
        weights: `"default"` (ImageNet, downloaded once by Keras; those of
            efficientnet_lite0 and scenes come with the package), `"none"`
            (random, always the same), or an HDF5 file that `load_weights`
            of the network without its top reads: `.weights.h5`, or the
            `_notop.h5` that Keras publishes. A file is of the first network;
            others then have their default.

    Returns:
        The encoder, frozen, its batch normalisation in inference mode.

    Raises:
        UserError: The name, the layer or the weights cannot be had.
    """
    if keras.config.image_data_format() != "channels_last":
        raise UserError(
            "Expected Keras' image_data_format to be channels_last. "
            f"Received: {keras.config.image_data_format()}. Change it in "
            "~/.keras/keras.json."
        )
    if JOIN in name:
        return _side_by_side(name, layer, weights)
    if layer == PIXELS:
        return _pixels(name)
    network = load_network(name, weights)
    return frozen_encoder(network, name, layer or DEFAULT_LAYERS.get(name))


def frozen_encoder(
    network: keras.Model, name: str, layer: str | None
) -> Encoder:
    """Builds the encoder that ends at a layer of a network.

    Args:
        network: Of `load_network`; what the encoder uses of it is frozen.
        name: The name of the network.
        layer: The name of the layer.

    Returns:
        The encoder, its batch normalisation in inference mode.

    Raises:
        UserError: The layer has no locations.
    """
    output = _output(network, name, layer)
    rows, columns, depth = output.shape[1:]
    features = keras.Model(network.input, output, name=f"{name}_features")
    features.trainable = False

    size = image_size(name)
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    preprocess, told = preprocessing(name)
    annotations = keras.layers.Reshape(
        (rows * columns, depth), dtype="float32", name="annotations"
    )(features(preprocess(images), training=False))
    return Encoder(
        name=name,
        layer=layer,
        image_size=size,
        grid=(rows, columns),
        depth=depth,
        digest=weights_digest(features),
        model=keras.Model(images, annotations, name=f"{name}_encoder"),
        preprocessing=told,
    )


def _side_by_side(name: str, layer: str | None, weights: str) -> Encoder:
    """Builds the encoder whose annotations are those of several.

    At each location of the first they stand one after the other. A coarser
    grid is repeated: a location has the annotation of the one it lies in.

    Args:
        name: As for `build_encoder`, more than one.
        layer: Likewise, or `None`.
        weights: As for `build_encoder`.

    Raises:
        UserError: An encoder cannot be had, or they do not go together.
    """
    names = name.split(JOIN)
    layers = layer.split(JOIN) if layer else [None] * len(names)
    if len(layers) != len(names) or PIXELS in layers:
        raise UserError(
            f"Expected a layer for each of {', '.join(names)}, joined by "
            f"{JOIN!r}. Received: --encoder_layer={layer}"
        )
    others = weights if weights == "none" else "default"
    first, *_ = parts = [
        build_encoder(each, own, weights if each == names[0] else others)
        for each, own in zip(names, layers, strict=True)
    ]
    images = keras.Input(first.model.input_shape[1:], dtype="uint8")
    seen = [
        _on_grid_of(first, part, f"encoder_{number}")(images)
        for number, part in enumerate(parts)
    ]
    annotations = keras.layers.Concatenate(dtype="float32", name="annotations")(
        seen
    )
    model = keras.Model(images, annotations, name="encoders")
    return dataclasses.replace(
        first,
        name=name,
        layer=JOIN.join(part.layer for part in parts),
        depth=sum(part.depth for part in parts),
        digest=weights_digest(model),
        model=model,
        preprocessing=f" {JOIN} ".join(part.preprocessing for part in parts),
    )


def _on_grid_of(first: Encoder, part: Encoder, name: str) -> keras.Model:
    """Returns an encoder's model with the locations of another."""
    (rows, columns), own = first.grid, part.grid
    if part.image_size != first.image_size or rows % own[0] or columns % own[1]:
        raise UserError(
            "Expected encoders of images of one size, the finest locations "
            f"first. Received: {first.name} of {first.image_size} pixels and "
            f"{first.grid} locations, {part.name} of {part.image_size} and "
            f"{part.grid}"
        )
    features = keras.layers.Reshape((*own, part.depth))(part.model.output)
    features = keras.layers.UpSampling2D((rows // own[0], columns // own[1]))(
        features
    )
    features = keras.layers.Rescaling(_BESIDE.get(part.name, 1.0))(features)
    features = keras.layers.Reshape((rows * columns, part.depth))(features)
    return keras.Model(part.model.input, features, name=name)


def _pixels(name: str) -> Encoder:
    """The encoder whose annotations are the pixels of the images."""
    size = image_size(name)
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    floats = keras.layers.Rescaling(1.0, dtype="float32")(images)
    pixels = keras.layers.Reshape(
        (size * size, 3), dtype="float32", name="annotations"
    )(floats)
    model = keras.Model(images, pixels, name=PIXELS)
    return Encoder(
        name=name,
        layer=PIXELS,
        image_size=size,
        grid=(size, size),
        depth=3,
        digest=weights_digest(model),
        model=model,
        preprocessing="none",
    )


def weights_digest(model: keras.Model) -> str:
    """SHA-256 of a model's weights, in their order.

    Names of layers do not count, because Keras numbers some of them by what
    else was built before; a weight's own name, shape and values do.

    Args:
        model: The model.

    Returns:
        64 hexadecimal digits.
    """
    digest = hashlib.sha256()
    for weight in model.weights:
        values = np.ascontiguousarray(weight.numpy(), dtype="<f4")
        digest.update(f"{weight.name}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _applications() -> dict[str, Callable[..., keras.Model]]:
    """The networks of `keras.applications`, by their name in lower case."""
    return {
        name.lower(): getattr(keras.applications, name)
        for name in dir(keras.applications)
        if name[0].isupper()
    }


def _application(name: str) -> Callable[..., keras.Model]:
    applications = _applications()
    if name not in applications:
        raise UserError(
            "Expected an encoder: vgg19, vgg16, efficientnet_lite0, scenes, "
            "or another of keras.applications such as resnet50, mobilenetv2 or "
            f"efficientnetb0. Received: encoder={name!r}."
        )
    return applications[name]


def _module(name: str):
    """The module of an application, which has its `preprocess_input`."""
    return sys.modules[_application(name).__module__]


def image_size(name: str) -> int:
    """Returns the side of an encoder's images in pixels.

    Raises:
        UserError: There is no such encoder.
    """
    if name not in _NETWORKS:
        _application(name)
    return IMAGE_SIZES.get(name, 224)


def preprocessing(name: str) -> tuple[keras.layers.Layer, str]:
    """Returns the layer that prepares pixels, and what it does in words."""
    if name in _RESCALINGS:
        scale, offset, told = _RESCALINGS[name]
        layer = keras.layers.Rescaling(
            scale, offset=offset, dtype="float32", name="preprocessing"
        )
        return layer, told
    layer = ApplicationPreprocessing(
        name, dtype="float32", name="preprocessing"
    )
    module = _module(name).__name__.rpartition(".")[2]
    return layer, f"keras.applications.{module}.preprocess_input"


def load_network(name: str, weights: str) -> keras.Model:
    """Builds the whole network without its top, with its weights.

    Args:
        name: As for `build_encoder`.
        weights: As for `build_encoder`.

    Raises:
        UserError: The name or the weights cannot be had.
    """
    ours = _NETWORKS.get(name)
    if weights == "default":
        if ours is None:
            return _download(name)
        weights = os.fspath(_WEIGHTS / f"{name}.weights.h5")
    if weights != "none":
        # Before the network is built, which takes seconds.
        _check_file(name, weights)
    network = ours() if ours else _untrained(name)
    if weights == "none":
        initialise(network)
    else:
        _load(network, name, weights)
    return network


def _untrained(name: str, weights: str | None = None) -> keras.Model:
    size = image_size(name)
    return _application(name)(
        include_top=False, weights=weights, input_shape=(size, size, 3)
    )


def _download(name: str) -> keras.Model:
    _application(name)
    try:
        return _untrained(name, "imagenet")
    except Exception as error:  # Keras and urllib raise many kinds.
        raise UserError(
            f"The ImageNet weights of {name} could not be downloaded: "
            f"{_first_line(error)}. Fetch that file (the one without the "
            "top, `notop`) on a machine that can, and give it with "
            "--encoder_weights=FILE."
        ) from error


def _check_file(name: str, path: str) -> None:
    """Checks that a file, which may be anything, can hold weights."""
    try:
        size = os.stat(path).st_size if os.path.isfile(path) else -1
        if size > 0:
            with open(path, "rb") as file:
                signature = file.read(len(_HDF5_SIGNATURE))
    except (OSError, ValueError) as error:
        raise UserError(
            f"The weights of {name} cannot be read: {error}. Give the file "
            "with --encoder_weights=FILE."
        ) from error
    if size < 0:
        raise UserError(
            f"Expected a file with the weights of {name}. Received: "
            f"{path!r}, which is no file. Give one with "
            "--encoder_weights=FILE."
        )
    if size == 0 or size > MAX_WEIGHTS_BYTES or signature != _HDF5_SIGNATURE:
        raise UserError(
            "Expected weights in HDF5 (.weights.h5 or _notop.h5), at most "
            f"{MAX_WEIGHTS_BYTES} bytes. Received: {path!r}, {size} bytes. "
            "Give another file with --encoder_weights=FILE."
        )


def _load(network: keras.Model, name: str, path: str) -> None:
    """Loads a file of weights, which may be those of another network."""
    try:
        network.load_weights(path)
    except Exception as error:  # Keras and h5py raise many kinds.
        raise UserError(
            f"Expected the weights of {name} without its top. Received: "
            f"{path!r}, which does not fit: {_first_line(error)}. Give "
            "another file with --encoder_weights=FILE, or the encoder that "
            "it belongs to with --encoder=NAME."
        ) from error


def initialise(network: keras.Model) -> None:
    """Fills the kernels by He's rule, always with the same numbers."""
    generator = np.random.default_rng(0)
    for weight in network.weights:
        if len(weight.shape) > 1:
            # A depthwise kernel, (rows, columns, depth, 1), sums no depth.
            summed = weight.shape[: 2 if weight.shape[-1] == 1 else -1]
            inputs = int(np.prod(summed))
            values = generator.standard_normal(weight.shape, np.float32)
            weight.assign(values * np.float32(np.sqrt(2 / inputs)))


def _output(network: keras.Model, name: str, layer: str | None):
    """The layer's output, if it has one with locations."""
    found = {}
    for candidate in network.layers:
        # A layer without a single output, or without a shape, has none.
        with contextlib.suppress(AttributeError, ValueError):
            shape = candidate.output.shape
            if len(shape) == 4 and None not in shape[1:]:
                found[candidate.name] = candidate.output
    if layer not in found:
        names = ", ".join(list(found)[-_LAYERS_NAMED:])
        raise UserError(
            f"Expected a layer of {name} with an output of (batch, rows, "
            f"columns, depth). Received: layer={layer!r}. Choose one with "
            f"--encoder_layer=LAYER; of {len(found)}, the last are: {names}."
        )
    return found[layer]


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
