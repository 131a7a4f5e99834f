"""Callbacks of `fit`, which is called once for each epoch."""

import time
from collections.abc import Callable

import keras
from keras import ops


class EndAfterEpoch(keras.callbacks.Callback):
    """Ends `fit` after one epoch, with the weights as they are.

    With `use_ema`, `fit` would end with the averages in their place.
    """

    def on_epoch_end(self, epoch, logs=None):
        """Ends the training, and keeps the weights."""
        self.model.stop_training = True
        self._weights = [ops.copy(v) for v in self.model.trainable_variables]

    def on_train_end(self, logs=None):
        """Puts the weights back."""
        for variable, value in zip(
            self.model.trainable_variables, self._weights, strict=True
        ):
            variable.assign(value)


class SaveByTime(keras.callbacks.Callback):
    """Calls `save` every so many minutes."""

    def __init__(self, save: Callable[[], None], minutes: float):
        super().__init__()
        self._save, self._seconds = save, 60 * minutes
        self._last = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        """Saves, if it is time to."""
        if time.monotonic() - self._last >= self._seconds:
            self._save()
            self._last = time.monotonic()
