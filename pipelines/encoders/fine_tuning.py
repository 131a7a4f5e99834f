"""Encoders that learn: a frozen bottom, and a live top.

The network is cut below the first layer that learns. What comes out of the
frozen bottom is the same in every epoch, so it is cached; the top goes into
the model that is trained. Where all layers learn, or images are augmented,
the bottom is empty: the pixels themselves are cached.
"""

import dataclasses

import keras

from pipelines.encoders.common_grid import JOIN
from pipelines.encoders.encoder import (
    LAYERS_NAMED,
    PIXELS,
    Encoder,
    Network,
    features_of,
    frozen_encoder,
)
from pipelines.encoders.keras_hub_backbones import PREFIX
from pipelines.encoders.registry import build_encoder, load_network
from pipelines.encoders.scenes_network import scenes_network
from pipelines.encoders.weights_files import initialise
from pipelines.errors import UserError

# In place of a layer: every layer learns.
ALL = "all"


@dataclasses.dataclass(frozen=True)
class CutEncoder:
    """The two parts of an encoder, and the encoder before it learns.

    `frozen` gives the features at the cut, which are cached. `live` maps them,
    float32 (B, L', D'), to (B, rows, columns, D). Its frozen layers and its
    pretrained batch normalisation, in inference mode, are not trainable.
    """

    frozen: Encoder
    live: keras.Model | None
    uncut: Encoder


def cut_encoder(
    name: str,
    layer: str | None,
    weights: str,
    finetune: str,
    pixels: bool = False,
    dtype: str = "float32",
) -> CutEncoder:
    """Builds an encoder in two parts, cut below the layer `finetune`.

    With `finetune="all"` or `pixels` it is cut at the pixels. With
    `weights="none"` batch normalisation learns, and scenes have a network
    that has it. `dtype` is the Keras dtype policy of the live part.
    """
    if JOIN in name or name.startswith(PREFIX):
        raise UserError(
            "Expected one encoder of keras.applications or of this package "
            f"with --finetune. Received: --encoder={name}. Give one of them."
        )
    if JOIN in (layer or ""):
        raise UserError(
            "Expected one layer with --finetune. Received: --encoder_layer="
            f"{layer}. Give one of them, or leave out --finetune."
        )
    network = load_network(name, weights)
    layer = layer or network.default_layer
    scratch = weights == "none"
    if name == "scenes" and scratch and finetune == ALL:
        network, layer = _normalized_scenes(network, layer)
    uncut = frozen_encoder(network, layer)
    features = features_of(uncut)
    features.trainable = True
    top = _top(network.model, features, name, finetune)
    _set_policy(top, dtype)
    if not scratch:
        for inner in top.layers:
            if isinstance(inner, keras.layers.BatchNormalization):
                inner.trainable = False
    start = features.input
    if finetune != ALL:
        start = features.get_layer(finetune).input

    at_pixels = finetune == ALL or pixels or start is features.input
    if at_pixels:
        frozen = build_encoder(name, PIXELS)
    else:
        below = next(x.name for x in features.layers if x.output is start)
        frozen = frozen_encoder(network, below)
    cached = keras.Input((frozen.grid[0] * frozen.grid[1], frozen.depth))
    live = keras.layers.Reshape((*frozen.grid, frozen.depth))(cached)
    if at_pixels:
        live = network.preprocess(live)
        if start is not features.input:
            bottom = keras.Model(features.input, start, name="frozen")
            bottom.trainable = False
            _set_policy(bottom, dtype)
            live = bottom(live)
    live = keras.Model(cached, top(live), name="encoder")
    return CutEncoder(frozen, live, uncut)


def _normalized_scenes(
    network: Network, layer: str | None
) -> tuple[Network, str | None]:
    """The network of scenes with batch normalisation, to learn from scratch."""
    model = scenes_network(normalized=True)
    initialise(model)
    normalized = f"{layer}_relu"
    if normalized in [x.name for x in model.layers]:
        layer = normalized
    return dataclasses.replace(network, model=model), layer


def _top(
    network: keras.Model, features: keras.Model, name: str, finetune: str
) -> keras.Model:
    """The part of the network that learns."""
    if finetune == ALL:
        return keras.Model(features.input, features.output, name="live")
    layers = _below(features)
    if finetune not in layers:
        above = finetune in _below(network)
        raise UserError(
            f"Expected a layer of {name} up to {features.layers[-1].name}, "
            f"which gives the annotations, or {ALL}. Received: "
            f"finetune={finetune!r}, which "
            f"{'lies above' if above else 'it does not have'}. Choose one "
            f"with --finetune=LAYER; {_last_of(_cuts(features))}"
        )
    start = layers[finetune].input
    try:
        if isinstance(start, (list, tuple)):
            raise ValueError("several inputs")
        return keras.Model(start, features.output, name="live")
    except ValueError as error:
        raise UserError(
            f"Expected a layer of {name} that no path leads round. Received: "
            f"finetune={finetune!r}. Choose another with --finetune=LAYER; "
            f"{_last_of(_cuts(features))}"
        ) from error


def _below(network: keras.Model) -> dict[str, keras.layers.Layer]:
    inputs = keras.layers.InputLayer
    layers = (each for each in network.layers if not isinstance(each, inputs))
    return {layer.name: layer for layer in layers}


def _cuts(features: keras.Model) -> list[str]:
    """Names of the layers that the network can be cut below."""
    return [
        name
        for name, layer in _below(features).items()
        if not isinstance(layer.input, (list, tuple))
        and not _has_way_round(features, layer.input)
    ]


def _has_way_round(features: keras.Model, tensor) -> bool:
    """Whether a path from input to output does not pass through a tensor."""
    reached = {id(features.input)} - {id(tensor)}
    for layer in _below(features).values():  # From the input upwards.
        inputs = keras.tree.flatten(layer.input)
        if layer.output is not tensor and any(id(x) in reached for x in inputs):
            reached.add(id(layer.output))
    return id(features.output) in reached


def _last_of(names: list[str]) -> str:
    return (
        f"of {len(names)} that can be, the last are: "
        f"{', '.join(names[-LAYERS_NAMED:])}."
    )


def _set_policy(network: keras.Model, dtype: str) -> None:
    for layer in network.layers:
        layer.dtype_policy = keras.dtype_policies.get(dtype)
