"""Several encoders side by side: at each location the annotations of all."""

import dataclasses

import keras

from pipelines.encoders.encoder import PIXELS, Encoder
from pipelines.encoders.weights_files import weights_digest
from pipelines.errors import UserError

# Between the names of encoders.
JOIN = "+"
# What annotations are multiplied by before they are concatenated with those
# of other encoders, so that all vary about as much as VGG's.
_SCALES = {"efficientnet_lite0": 0.3}


def split_names(
    name: str, layer: str | None, weights: str
) -> list[tuple[str, str | None, str]]:
    """Returns name, layer and weights of each of several encoders.

    A file of weights is of the first network; others have their default.
    """
    names = name.split(JOIN)
    layers = layer.split(JOIN) if layer else [None] * len(names)
    if len(layers) != len(names) or PIXELS in layers:
        raise UserError(
            f"Expected a layer for each of {', '.join(names)}, joined by "
            f"{JOIN!r}. Received: --encoder_layer={layer}"
        )
    others = weights if weights == "none" else "default"
    return [
        (each, layer, weights if each == names[0] else others)
        for each, layer in zip(names, layers, strict=True)
    ]


def side_by_side(parts: list[Encoder]) -> Encoder:
    """Builds the encoder whose annotations are those of several.

    At each location of the first they are concatenated. A coarser grid is
    repeated: a location has the annotation of the one it lies in.
    """
    first, *_ = parts
    images = keras.Input(first.model.input_shape[1:], dtype="uint8")
    annotations = [
        _on_grid_of(first, part, f"encoder_{number}")(images)
        for number, part in enumerate(parts)
    ]
    concatenate = keras.layers.Concatenate(dtype="float32", name="annotations")
    model = keras.Model(images, concatenate(annotations), name="encoders")
    return dataclasses.replace(
        first,
        name=JOIN.join(part.name for part in parts),
        layer=JOIN.join(part.layer for part in parts),
        depth=sum(part.depth for part in parts),
        digest=weights_digest(model),
        model=model,
        preprocessing=f" {JOIN} ".join(part.preprocessing for part in parts),
    )


def _on_grid_of(first: Encoder, part: Encoder, name: str) -> keras.Model:
    """Returns an encoder's model with the locations of another."""
    rows, columns = first.grid
    part_rows, part_columns = part.grid
    finer = rows % part_rows or columns % part_columns
    if part.image_size != first.image_size or finer:
        raise UserError(
            "Expected encoders of images of one size, the finest locations "
            f"first. Received: {first.name} of {first.image_size} pixels and "
            f"{first.grid} locations, {part.name} of {part.image_size} and "
            f"{part.grid}"
        )
    features = keras.layers.Reshape((*part.grid, part.depth))(part.model.output)
    repeats = rows // part_rows, columns // part_columns
    features = keras.layers.UpSampling2D(repeats)(features)
    features = keras.layers.Rescaling(_SCALES.get(part.name, 1.0))(features)
    features = keras.layers.Reshape((rows * columns, part.depth))(features)
    return keras.Model(part.model.input, features, name=name)
