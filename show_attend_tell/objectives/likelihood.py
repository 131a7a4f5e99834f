"""The likelihood of captions (the first term of equation 14)."""

import keras
from keras import ops

from pipelines.vocabulary import END


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


def smoothing(logits, targets, mask):
    """Returns what a label smoothing of one adds to `caption_nll`, `(...)`.

    Label smoothing (Szegedy et al. 2016, section 7) takes a share `e` of each
    target's probability and spreads it evenly over all words. As every
    `-log p` is the same normaliser less a logit `z`,

        (1 - e) nll(y) + e mean_v nll(v) = nll(y) + e (z_y - mean_v z_v)

    The words are those that can be a target, the end among them: padding and
    start never follow, and are given nothing.

    Args:
        logits: `(..., T, V)`.
        targets: `(..., T)`, integers.
        mask: `(..., T)`, true where a word (or the end token) is.
    """
    logits = ops.cast(logits, "float32")
    size = logits.shape[-1]
    # A product, which is one pass over the logits, where a slice is two.
    share = ops.cast(ops.arange(size) >= END, "float32") / (size - END)
    mean = ops.matmul(logits, share)
    own = ops.take_along_axis(logits, ops.expand_dims(targets, -1), axis=-1)
    excess = own[..., 0] - mean
    return ops.sum(excess * ops.cast(mask, "float32"), axis=-1)


def log_probability_of_locations(attention, looking, mask):
    """Computes `log p(s | a) = sum_t log alpha_t[s_t]` of every caption.

    Args:
        attention: `alpha`, `(N, K, T, L)`.
        looking: One at the locations that were drawn, `(N, K, T, L)`.
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
