"""The likelihood of captions (the first term of equation 14)."""

import keras
from keras import ops


def caption_nll(logits, targets, mask):
    """Returns `-sum_t log p(y_t)` of each caption, `(...)`, in float32.

    Args:
        logits: `(..., T, V)`.
        targets: `(..., T)`, integers.
        mask: `(..., T)`, true where a word (or the end token) is.
    """
    nll = keras.losses.sparse_categorical_crossentropy(
        targets, ops.cast(logits, "float32"), from_logits=True
    )
    return ops.sum(nll * ops.cast(mask, "float32"), axis=-1)
