"""The configuration of the architecture."""

import dataclasses

from pipelines.options import check_options, option

GATES = ("scalar", "vector", "none")
ACTIVATIONS = ("tanh", "linear")


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What `show_attend_tell.model.Captioner` is built from.

    Options marked `fixed_by_weights` cannot change once weights are trained.
    """

    embedding_size: int = option(
        512, "E, size of a word's embedding", "[1, inf)", fixed_by_weights=True
    )
    units: int = option(
        512, "U, size of the LSTM", "[1, inf)", fixed_by_weights=True
    )
    attention_units: int = option(
        512,
        "A, size of the attention's hidden layer",
        "[1, inf)",
        fixed_by_weights=True,
    )
    attention_temperature: float = option(
        1.0, "divisor of the attention's energies", "(0, inf)"
    )
    gate: str = option(
        "scalar",
        "gate on the context vector: the paper's scalar, a vector, or none",
        GATES,
        fixed_by_weights=True,
    )
    initial_units: int = option(
        512,
        "size of the hidden layer of the initial state; 0: none",
        fixed_by_weights=True,
    )
    activation: str = option(
        "tanh",
        "activation of the deep output layer",
        ACTIVATIONS,
        fixed_by_weights=True,
    )
    dropout: float = option(0.5, "dropout rate", "[0, 1)")
    annotation_scale: float = option(
        0.0,
        "factor of the annotations; 0: the one that gives the training "
        "annotations a standard deviation of 1",
        fixed_by_weights=True,
    )
    fused_decoder: bool = option(
        True,
        "train with the decoder's hand-written backward pass where it applies",
    )

    def __post_init__(self):
        check_options(self)
