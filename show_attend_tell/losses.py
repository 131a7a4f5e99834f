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


def log_probability_of_places(attention, looking, mask):
    """Computes `log p(s | a) = sum_t log alpha_t[s_t]` of every caption.

    Args:
        attention: `alpha`, `(N, K, T, L)`.
        looking: One at the places that were drawn, `(N, K, T, L)`.
        mask: `(N, K, T)`, true where there is a word.

    Returns:
        `(N, K)` float32. Gradient comes by the attention alone.
    """
    looking = ops.stop_gradient(looking)
    chosen = ops.sum(looking * _log(attention), axis=-1)
    return ops.sum(ops.where(mask, chosen, 0.0), axis=-1)


def negative_entropy(attention, mask):
    """Computes `sum_t,i alpha_ti log alpha_ti` of every caption, `(N, K)`.

    Args:
        attention: `alpha`, `(N, K, T, L)`.
        mask: `(N, K, T)`, true where there is a word.
    """
    each = ops.sum(attention * _log(attention), axis=-1)
    return ops.sum(ops.where(mask, each, 0.0), axis=-1)


def _log(attention):
    return ops.log(ops.maximum(attention, 1e-30))
