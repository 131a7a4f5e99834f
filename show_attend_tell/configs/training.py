"""The configuration of training."""

import dataclasses

from pipelines.options import check_options, option

DTYPE_POLICIES = ("float32", "mixed_bfloat16", "mixed_float16")
OPTIMIZERS = ("adam", "rmsprop")
SCHEDULES = ("constant", "cosine")
STRATEGIES = ("none", "mirrored")


@dataclasses.dataclass(frozen=True)
class TrainingConfig:
    """The optimizer, its schedule, stopping and checkpoints."""

    warm_start: str | None = option(
        None,
        "workdir of a finished run whose best model to start from",
        is_path=True,
    )
    epochs: int = option(
        20, "at most this many passes over the captions", "[1, inf)"
    )
    strategy: str = option(
        "none",
        "mirrored: on all GPUs of this machine, each with a part of a batch",
        STRATEGIES,
    )
    dtype_policy: str = option(
        "float32", "Keras's dtype policy; weights stay float32", DTYPE_POLICIES
    )
    optimizer: str = option("adam", "the optimizer", OPTIMIZERS)
    learning_rate: float = option(5e-4, "peak learning rate")
    schedule: str = option(
        "cosine",
        "of the learning rate: constant, or cosine to zero at the last epoch",
        SCHEDULES,
    )
    clip_norm: float = option(5.0, "largest norm of the gradient; 0: any")
    ema: float = option(
        0.0,
        "momentum of the moving average of weights that generates captions; "
        "0: none",
        "[0, 1)",
    )
    patience: int = option(
        10,
        "stop after this many epochs without a better BLEU-4, or CIDEr-D "
        "with self_critical",
    )
    keep_epochs: int = option(
        0, "keep the models of the last so many epochs, for an ensemble"
    )
    checkpoint_minutes: float = option(2.0, "time between checkpoints")
    pictures: int = option(12, "pictures of attention to render at the end")
    seed: int = option(0, "seed of weights, order, dropout and sampling")

    def __post_init__(self):
        check_options(self)
