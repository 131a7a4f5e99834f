"""The configuration of the architecture."""

import dataclasses
import functools

from pipelines.options import check_options, option

GATES = ("scalar", "vector", "none")
ACTIVATIONS = ("tanh", "linear")

# Cannot change once weights are trained.
_fixed = functools.partial(option, fixed_by_weights=True)


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """What `show_attend_tell.model.Captioner` is built from."""

    embedding_size: int = _fixed(
        512, "E, size of a word's embedding", "[1, inf)"
    )
    units: int = _fixed(512, "U, size of the LSTM", "[1, inf)")
    attention_units: int = _fixed(
        512, "A, size of the attention's hidden layer", "[1, inf)"
    )
    attention_temperature: float = option(
        1.0, "divisor of the attention's energies", "(0, inf)"
    )
    gate: str = _fixed(
        "scalar",
        "gate on the context vector: the paper's scalar, a vector, or none",
        GATES,
    )
    initial_units: int = _fixed(
        512, "size of the hidden layer of the initial state; 0: none"
    )
    activation: str = _fixed(
        "tanh", "activation of the deep output layer", ACTIVATIONS
    )
    dropout: float = option(0.5, "dropout rate", "[0, 1)")
    annotation_scale: float = _fixed(
        0.0,
        "factor of the annotations; 0: the one that gives the training "
        "annotations a standard deviation of 1",
    )
    fused_decoder: bool = option(
        True,
        "train with the decoder's hand-written backward pass where it applies",
    )

    def __post_init__(self):
        check_options(self)
