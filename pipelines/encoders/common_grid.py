"""Annotations of several layers or networks at the locations of the first."""

import keras

from pipelines.errors import UserError

# Between the names of encoders, and between those of layers.
JOIN = "+"


def no_finer_than_first(maps: list, names: list[str]) -> list:
    """Averages maps (B, rows, columns, D), symbolic, finer than the first.

    Raises:
        UserError: Rows or columns of two grids do not divide each other;
            `names` say which.
    """
    grid = maps[0].shape[1:3]
    averaged = []
    for features, name in zip(maps, names, strict=True):
        sides = features.shape[1:3]
        if any(g % s and s % g for g, s in zip(grid, sides, strict=True)):
            raise UserError(
                "Expected grids of which one divides the other. Received: "
                f"{names[0]} of {grid} locations, {name} of {sides}. Choose "
                "others with --encoder_layer=LAYER+LAYER."
            )
        sizes = tuple(max(s // g, 1) for g, s in zip(grid, sides, strict=True))
        if max(sizes) > 1:
            features = keras.layers.AveragePooling2D(sizes)(features)
        averaged.append(features)
    return averaged


def concatenated(maps: list, scales: list[float]):
    """Concatenates maps at each location of the first, (B, L, D of all).

    A coarser map is repeated: a location has the annotation of the one it
    lies in. Each is multiplied by its scale.
    """
    rows, columns = maps[0].shape[1:3]
    annotations = []
    for number, (features, scale) in enumerate(zip(maps, scales, strict=True)):
        name = f"side_by_side_{number}"  # Which export to int8 knows.
        part_rows, part_columns, depth = features.shape[1:]
        if scale != 1:
            features = keras.layers.Rescaling(scale, dtype="float32")(features)
        repeats = rows // part_rows, columns // part_columns
        if max(repeats) > 1:
            repeat = keras.layers.UpSampling2D(repeats, name=f"{name}_repeated")
            features = repeat(features)
        reshape = keras.layers.Reshape((rows * columns, depth), name=name)
        annotations.append(reshape(features))
    concatenate = keras.layers.Concatenate(dtype="float32", name="side_by_side")
    return concatenate(annotations)
