"""Several layers of one network side by side, in one pass."""

import math

import keras
import numpy as np

from pipelines.encoders.common_grid import (
    JOIN,
    concatenated,
    no_finer_than_first,
)
from pipelines.encoders.encoder import (
    Encoder,
    LastTokens,
    Network,
    frozen_features,
    grid_of,
    output_of,
)
from pipelines.encoders.weights_files import weights_digest
from pipelines.errors import UserError
from pipelines.images.preparation import prepare
from pipelines.sources.scenes import load_scenes

# Between the name of a layer and what its outputs are multiplied by.
SCALE = ":"
# The rendered scenes by which scales are measured.
_SCENES = 8


def several_layers(network: Network, layers: str) -> Encoder:
    """Builds the encoder whose annotations are those of several layers.

    At each location of the first they are concatenated, see `common_grid`.
    They are scaled to vary as much as the first on a few rendered scenes; or
    as `layers` says, such as `"block5c_add+block7a_project_bn:2.5"`. The
    encoder's `layer` has all scales, so nothing is measured a second time.

    Raises:
        UserError: A layer or a scale is none, or grids do not fit.
    """
    names, given = zip(*map(_parse, layers.split(JOIN)), strict=True)
    if len(set(names)) < len(names):
        raise UserError(
            "Expected different layers. Received: --encoder_layer="
            f"{layers}. Name each once."
        )
    outputs = [output_of(network, name) for name in names]
    features = frozen_features(network, outputs)
    size = network.image_size
    images = keras.Input((size, size, 3), dtype="uint8", name="images")
    maps = [
        _with_locations(one, grid_of(network, output))
        for one, output in zip(
            features(network.preprocess(images), training=False),
            outputs,
            strict=True,
        )
    ]
    maps = no_finer_than_first(maps, names)
    if None in given:
        given = _completed(given, keras.Model(images, maps), size)
    annotations = concatenated(maps, given)
    return Encoder(
        name=network.name,
        layer=JOIN.join(map(_name_with_scale, names, given)),
        image_size=size,
        grid=maps[0].shape[1:3],
        depth=annotations.shape[-1],
        digest=weights_digest(features),
        model=keras.Model(images, annotations, name="encoder"),
        preprocessing=network.preprocessing,
        parts=tuple(one.shape[1:] for one in maps),
    )


def _with_locations(features, grid: tuple[int, int]):
    """Makes tokens of patches a map (B, rows, columns, D)."""
    if len(features.shape) == 4:
        return features
    tokens = LastTokens(math.prod(grid))(features)
    return keras.layers.Reshape((*grid, features.shape[-1]))(tokens)


def _parse(text: str) -> tuple[str, float | None]:
    name, colon, scale = text.partition(SCALE)
    if not colon:
        return name, None
    try:
        value = float(scale)
    except ValueError:
        value = math.nan
    if not 1e-6 <= value <= 1e6:
        raise UserError(
            "Expected layers such as block5c_add+block7a_project_bn, or with "
            f"scales from 1e-6 to 1e6: block7a_project_bn{SCALE}2.5. Received: "
            f"--encoder_layer={text}"
        )
    return name, value


def _name_with_scale(name: str, scale: float) -> str:
    return name if scale == 1 else f"{name}{SCALE}{scale:g}"


def _completed(given, model: keras.Model, size: int) -> list[float]:
    """Measures the scales that are not given; the first is 1 by default.

    To two digits, so that they do not depend on the order of a sum.
    """
    scenes = load_scenes(0, 0, _SCENES, 0).images
    squares = np.stack([prepare(scene, size, "squash") for scene in scenes])
    spreads = [np.std(m, dtype="f8") for m in model.predict_on_batch(squares)]
    first = given[0] or 1.0
    measured = [
        float(f"{first * spreads[0] / spread:.2g}") if spread else 1.0
        for spread in spreads
    ]
    return [one or new for one, new in zip(given, measured, strict=True)]
