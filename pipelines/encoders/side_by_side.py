"""Several encoders side by side: at each location the annotations of all."""

import dataclasses

import keras

from pipelines.encoders.common_grid import (
    JOIN,
    concatenated,
    no_finer_than_first,
)
from pipelines.encoders.encoder import PIXELS, Encoder
from pipelines.encoders.weights_files import weights_digest
from pipelines.errors import UserError

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


def side_by_side(encoders: list[Encoder]) -> Encoder:
    """Builds the encoder whose annotations are those of several.

    At each location of the first they are concatenated, see `common_grid`.
    """
    first, *_ = encoders
    images = keras.Input(first.model.input_shape[1:], dtype="uint8")
    for one in encoders:
        if one.image_size != first.image_size:
            raise UserError(
                "Expected encoders of images of one size. Received: "
                f"{first.name} of {first.image_size} pixels, {one.name} of "
                f"{one.image_size}"
            )
    maps = [
        _with_rows(one, f"encoder_{number}")(images)
        for number, one in enumerate(encoders)
    ]
    names = [one.name for one in encoders]
    maps = no_finer_than_first(maps, names)
    scales = [_SCALES.get(name, 1.0) for name in names]
    annotations = concatenated(maps, scales)
    model = keras.Model(images, annotations, name="encoders")
    return dataclasses.replace(
        first,
        name=JOIN.join(names),
        layer=JOIN.join(one.layer for one in encoders),
        depth=sum(one.depth for one in encoders),
        # One after the other: the joint model orders them by its graph.
        digest=weights_digest(*(one.model for one in encoders)),
        model=model,
        preprocessing=f" {JOIN} ".join(one.preprocessing for one in encoders),
        parts=tuple(one.shape[1:] for one in maps),
    )


def _with_rows(encoder: Encoder, name: str) -> keras.Model:
    """Returns an encoder's model to (B, rows, columns, D)."""
    shape = *encoder.grid, encoder.depth
    features = keras.layers.Reshape(shape)(encoder.model.output)
    return keras.Model(encoder.model.input, features, name=name)
