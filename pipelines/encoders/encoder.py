"""An encoder: a frozen network, images -> annotations a_i, one a location."""

import contextlib
import dataclasses

import keras

from pipelines.encoders.weights_files import weights_digest
from pipelines.errors import UserError

# In place of a layer: the pixels themselves, for an encoder that learns.
PIXELS = "pixels"
# How many layers an error message lists.
LAYERS_NAMED = 24


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
        parts: Of several layers or networks side by side, rows, columns and
            depth of each: where it is coarser than the grid, locations that
            lie in one of its own have the same annotation.
    """

    name: str
    layer: str
    image_size: int
    grid: tuple[int, int]
    depth: int
    digest: str
    model: keras.Model
    preprocessing: str
    parts: tuple[tuple[int, int, int], ...] = ()


@dataclasses.dataclass(frozen=True)
class Network:
    """A network without its top, and how it is given images.

    `model` takes (B, image_size, image_size, 3) as `preprocess` makes it of
    pixels, 0 to 255. With the `patch_size` of a transformer, in pixels, an
    output (B, tokens, depth) has locations too.
    """

    name: str
    model: keras.Model
    image_size: int
    preprocess: keras.layers.Layer
    preprocessing: str
    default_layer: str | None = None
    patch_size: int | None = None


@keras.saving.register_keras_serializable(package="pipelines")
class LastTokens(keras.layers.Layer):
    """The last `count` tokens: those of patches, after class and registers.

    How many tokens come before is not asked for: keras-hub 0.32 announces one
    too many for SigLIP.
    """

    def __init__(self, count: int, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.count = count

    def call(self, tokens):
        """Returns the last tokens (B, count, D) of (B, tokens, D)."""
        return tokens[:, -self.count :]

    def compute_output_shape(self, input_shape):
        """(B, count, D)."""
        return (input_shape[0], self.count, input_shape[2])

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "count": self.count}


def rescaling(scale: float, offset: float) -> keras.layers.Layer:
    """Returns the preprocessing of a pixel x to x * scale + offset."""
    return keras.layers.Rescaling(
        scale, offset, dtype="float32", name="preprocessing"
    )


def frozen_encoder(network: Network, layer: str | None = None) -> Encoder:
    """Builds the encoder that ends at a layer of a network.

    What it uses of the network is frozen, and runs in inference mode.
    """
    name, size = network.name, network.image_size
    layer = layer or network.default_layer
    output = output_of(network, layer)
    depth = output.shape[-1]
    features = frozen_features(network, output)
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    annotations = features(network.preprocess(images), training=False)
    rows, columns = grid_of(network, output)
    if len(output.shape) == 3:
        annotations = LastTokens(rows * columns)(annotations)
    annotations = keras.layers.Reshape(
        (rows * columns, depth), dtype="float32", name="annotations"
    )(annotations)
    return Encoder(
        name=name,
        layer=layer,
        image_size=size,
        grid=(rows, columns),
        depth=depth,
        digest=weights_digest(features),
        model=keras.Model(images, annotations, name="encoder"),
        preprocessing=network.preprocessing,
    )


def frozen_features(network: Network, outputs) -> keras.Model:
    """Returns a network up to some outputs, frozen."""
    features = keras.Model(
        network.model.inputs[0], outputs, name=_features_name(network.name)
    )
    features.trainable = False
    return features


def features_of(encoder: Encoder) -> keras.Model:
    """Returns the network inside an encoder, which ends at its layer."""
    return encoder.model.get_layer(_features_name(encoder.name))


def pixels_encoder(name: str, image_size: int) -> Encoder:
    """Builds the encoder whose annotations are the pixels of the images."""
    images = keras.Input((image_size, image_size, 3), dtype="uint8")
    floats = keras.layers.Rescaling(1.0, dtype="float32")(images)
    pixels = keras.layers.Reshape(
        (image_size**2, 3), dtype="float32", name="annotations"
    )(floats)
    model = keras.Model(images, pixels, name=PIXELS)
    return Encoder(
        name=name,
        layer=PIXELS,
        image_size=image_size,
        grid=(image_size, image_size),
        depth=3,
        digest=weights_digest(model),
        model=model,
        preprocessing="none",
    )


def layers_with_locations(network: Network) -> dict:
    """Returns the outputs of layers that have locations; the last comes last.

    They are feature maps (B, rows, columns, depth) or, where the network
    has patches, tokens (B, tokens, depth).
    """
    ranks = (4,) if network.patch_size is None else (3, 4)

    def has_locations(output) -> bool:
        return len(output.shape) in ranks and None not in output.shape[1:]

    outputs = {}
    for layer in network.model.layers:
        # A layer without a single output, or without a shape, has none.
        with contextlib.suppress(AttributeError, ValueError):
            if has_locations(layer.output):
                outputs[layer.name] = layer.output
    for last in filter(has_locations, network.model.outputs):
        names = [name for name, output in outputs.items() if output is last]
        name = names[0] if names else "output"
        outputs.pop(name, None)
        outputs[name] = last
    return outputs


def output_of(network: Network, layer: str | None):
    """Returns the output of a layer that has locations."""
    outputs = layers_with_locations(network)
    if layer not in outputs:
        names = ", ".join(list(outputs)[-LAYERS_NAMED:])
        raise UserError(
            f"Expected a layer of {network.name} with an output of (batch, "
            f"rows, columns, depth). Received: layer={layer!r}. Choose one "
            f"with --encoder_layer=LAYER; of {len(outputs)}, the last are: "
            f"{names}."
        )
    return outputs[layer]


def grid_of(network: Network, output) -> tuple[int, int]:
    """Returns rows and columns of an output that has locations."""
    if len(output.shape) == 4:
        return output.shape[1:3]
    rows = network.image_size // network.patch_size
    while rows**2 > output.shape[1]:  # Swin merges patches, stage by stage.
        rows //= 2
    return rows, rows


def _features_name(name: str) -> str:
    """A name of a layer, which may have no slash."""
    return f"{name.partition(':')[0]}_features"
