"""What may be said next, and how likely it is."""

from keras import ops

from pipelines.vocabulary import END, PADDING, START, UNKNOWN
from show_attend_tell.decoding.settings import Decoding

# Log-probability of what may not be said; finite, so that sums stay finite.
MASKED_LOG_PROBABILITY = -1e9


def candidates(logits, step, said, decoding: Decoding, count: int | None):
    """Returns the likeliest words that may come next.

    Their probability is that among all words: what may not be said keeps its
    share.

    Args:
        logits: `(N, W, V)`.
        step: How many words have been said, an integer scalar.
        said: The words so far, `(N, W, T)`, then padding.
        decoding: The constraints.
        count: C, how many words to return, or all if there are fewer;
            `None` for all in the order of their numbers, which saves sorting.

    Returns:
        Log-probabilities `(N, W, C)` float32, the highest first, `MASKED_LOG_PROBABILITY` or
        less for what may not be said; and the words `(N, W, C)` int32.
    """
    logits = ops.cast(logits, "float32")
    size = logits.shape[-1]
    everything = ops.logsumexp(logits, axis=-1, keepdims=True)
    wanted = logits + mask_tokens(size, step, decoding)
    if count is None:
        log_p = wanted - everything
        words = ops.arange(size, dtype="int32")
        words = ops.broadcast_to(words, ops.shape(log_p))
        if decoding.no_repeat_ngram_size:
            repeats = _repeats(words, step, said, decoding.no_repeat_ngram_size)
            log_p = ops.where(repeats, MASKED_LOG_PROBABILITY, log_p)
        return log_p, words
    # So many words may be banned at most: enough are left behind them.
    spare = decoding.steps if decoding.no_repeat_ngram_size else 0
    best, words = ops.top_k(wanted, min(size, count + spare))
    words = ops.cast(words, "int32")
    log_p = best - everything
    if decoding.no_repeat_ngram_size:
        repeats = _repeats(words, step, said, decoding.no_repeat_ngram_size)
        log_p = ops.where(repeats, MASKED_LOG_PROBABILITY, log_p)
        log_p, order = ops.top_k(log_p, min(size, count))
        words = gather(words, order, axes=2)
    return log_p, words


def gather(values, index, axes: int = 1):
    """Takes rows by their number, each from its own group.

    Args:
        values: `(..., W, *row)`, with `axes` axes before W.
        index: `(..., K)` int, each in [0, W).
        axes: How many axes count the groups.

    Returns:
        `(..., K, *row)`.
    """
    shape = tuple(ops.shape(values))
    groups, width, row = shape[:axes], shape[axes], shape[axes + 1 :]
    flat = ops.reshape(values, (-1, *row))
    index = ops.cast(index, "int32")
    wanted = tuple(ops.shape(index))
    number = ops.reshape(index, (-1, wanted[axes]))
    start = ops.arange(ops.shape(number)[0], dtype="int32") * width
    taken = ops.take(flat, number + ops.expand_dims(start, 1), axis=0)
    return ops.reshape(taken, (*groups, wanted[axes], *row))


def mask_tokens(size: int, step, decoding: Decoding):
    """Returns what is added to logits so that some words are never said.

    Args:
        size: V.
        step: How many words have been said, an integer scalar or `(T, 1)`.
        decoding: The constraints; repeated n-grams are not among these.

    Returns:
        `(V,)` or `(T, V)` float32: zero, and `MASKED_LOG_PROBABILITY` for what may not be
        said.
    """
    words = ops.arange(size)
    silent = [PADDING, START] + ([] if decoding.allow_unknown else [UNKNOWN])
    never = ops.any(ops.stack([ops.equal(words, w) for w in silent]), axis=0)
    if decoding.min_words:
        early = ops.logical_and(
            ops.equal(words, END), step < decoding.min_words
        )
        never = ops.logical_or(never, early)
    return MASKED_LOG_PROBABILITY * ops.cast(never, "float32")


def _repeats(words, step, said, n: int):
    """Returns which words, `(N, W, C)`, would say an n-gram again."""
    steps = said.shape[-1]
    if n > steps:
        return ops.zeros_like(words, dtype="bool")
    # The words that follow what is now the end of the caption, wherever that
    # was said before. At its own place padding follows, which is no word.
    begun = ops.ones_like(said[..., n - 1 :], dtype="bool")
    batch, width = ops.shape(said)[0], said.shape[1]
    for back in range(1, n):
        place = ops.maximum(step - back, 0)
        last = ops.slice(said, (0, 0, place), (batch, width, 1))
        earlier = said[..., n - 1 - back : steps - back]
        begun = ops.logical_and(begun, ops.equal(earlier, last))
    begun = ops.logical_and(begun, step >= n - 1)
    same = ops.equal(
        ops.expand_dims(words, -1), ops.expand_dims(said[..., n - 1 :], -2)
    )
    return ops.any(ops.logical_and(same, ops.expand_dims(begun, -2)), axis=-1)
