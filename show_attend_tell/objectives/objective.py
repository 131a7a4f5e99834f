"""The interface of all objectives."""

import typing
from collections.abc import Callable, Sequence

import keras
import numpy as np

from pipelines.vocabulary import PADDING


class Losses(typing.NamedTuple):
    """The losses of a batch, scalars.

    Attributes:
        loss: What is minimised. On several devices it is this device's part:
            the parts of all add up to the loss of the batch.
        nll: The summed negative log-likelihood of all words.
        words: The number of words, ends of captions among them.
    """

    loss: typing.Any
    nll: typing.Any
    words: typing.Any


class Objective(keras.layers.Layer):
    """What training minimises.

    A `CaptionerTrainer` calls `prepare` outside of the gradient tape, then
    `compute_losses` inside. Metrics that are attributes of an objective are
    shown while training, and its weights are part of a checkpoint.

    An objective computes in float32 under any policy. Arguments that are
    numbers or strings need no `get_config`: Keras keeps them.
    """

    def __init__(self, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        self.built = True

    def adapt(self, captions: Sequence[Sequence[np.ndarray]]) -> None:
        """Learns the training captions; most objectives need none.

        Args:
            captions: For each example its captions, from start to end token.
        """

    def supervise(self, cover: Callable) -> None:
        """Takes what tells where attention should lie; most need it not.

        Args:
            cover: From `tokens` `(N, K, T + 1)` and `examples` `(N,)` to how
                much of each location the boxes of what each word names cover,
                `(N, K, T, L)` float32; zero of words that name nothing.
        """

    def set_progress(self, epoch: int, epochs: int) -> None:
        """Adapts to the epoch, from 0 on, that follows of so many."""

    def prepare(self, captioner, inputs, step):
        """Returns the inputs of `compute_losses`, from those of a batch.

        Args:
            captioner: A `Captioner`.
            inputs: `{"annotations": (N, L, D), "tokens": (N, K, T + 1)}`. A
                caption of padding counts nothing.
            step: Steps of the optimizer so far, from which randomness may
                follow.
        """
        return inputs

    def compute_losses(self, captioner, inputs, training=None) -> Losses:
        """Returns the losses of a batch.

        Args:
            captioner: A `Captioner`.
            inputs: As `prepare` returned; or, to measure, those of a batch.
            training: Whether to drop units, and sample.
        """
        raise NotImplementedError

    @property
    def random_generators(self) -> list[tuple[keras.random.SeedGenerator, int]]:
        """Generators, each with how often a training step uses it."""
        return []


def targets_and_mask(inputs):
    """Returns the words to predict, `(N, K, T)`, and where there is one."""
    targets = inputs.get("targets", inputs["tokens"][:, :, 1:])
    return targets, targets != PADDING
