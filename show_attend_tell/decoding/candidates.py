"""The candidates for the next word: likeliest words within constraints."""

from keras import ops

from pipelines.vocabulary import END, PADDING, START, UNKNOWN
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.loop_state import gather

# Of a word that the constraints exclude; finite, so that sums stay finite.
MASKED_LOG_PROBABILITY = -1e9


def candidates(logits, step, tokens, decoding: Decoding, count: int | None):
    """Returns the C = `count` likeliest words that may come next.

    Their probability is that among all words: excluded words keep their share.

    Args:
        logits: `(N, W, V)`.
        step: The number of words so far, an integer scalar.
        tokens: The words so far, `(N, W, T)`, then padding.
        decoding: The constraints.
        count: `None` for all in the order of their numbers, without sorting.

    Returns:
        Log-probabilities `(N, W, C)` float32, the highest first,
        `MASKED_LOG_PROBABILITY` or less for excluded words; and the words
        `(N, W, C)` int32.
    """
    logits = ops.cast(logits, "float32")
    size = logits.shape[-1]
    normalizer = ops.logsumexp(logits, axis=-1, keepdims=True)  # (N, W, 1)
    scores = logits + mask_tokens(size, step, decoding)
    if count is None:
        words = ops.arange(size, dtype="int32")
        words = ops.broadcast_to(words, ops.shape(scores))
    else:
        # So many words at most repeat an n-gram: enough are left behind them.
        spare = decoding.steps if decoding.no_repeat_ngram_size else 0
        scores, words = ops.top_k(scores, min(size, count + spare))
        words = ops.cast(words, "int32")
    log_p = scores - normalizer
    if decoding.no_repeat_ngram_size:
        repeats = _repeats(words, step, tokens, decoding.no_repeat_ngram_size)
        log_p = ops.where(repeats, MASKED_LOG_PROBABILITY, log_p)
        if count is not None:
            log_p, order = ops.top_k(log_p, min(size, count))
            words = gather(words, order, axes=2)
    return log_p, words


def mask_tokens(size: int, step, decoding: Decoding):
    """Returns what, added to logits, excludes words; not repeated n-grams.

    `(V,)` float32, or `(T, V)` with steps `(T, 1)`.
    """
    words = ops.arange(size)
    excluded = [PADDING, START]
    if not decoding.allow_unknown:
        excluded.append(UNKNOWN)
    mask = ops.any(ops.stack([ops.equal(words, w) for w in excluded]), axis=0)
    if decoding.min_words:
        too_early = ops.logical_and(
            ops.equal(words, END), step < decoding.min_words
        )
        mask = ops.logical_or(mask, too_early)
    return MASKED_LOG_PROBABILITY * ops.cast(mask, "float32")


def _repeats(words, step, tokens, n: int):
    """Returns which words, `(N, W, C)`, would repeat an n-gram."""
    steps = tokens.shape[-1]
    if n > steps:
        return ops.zeros_like(words, dtype="bool")
    # Where the last n - 1 words occurred before, the word that followed. At
    # their latest occurrence padding follows, which is no word.
    occurred = ops.ones_like(tokens[..., n - 1 :], dtype="bool")
    batch, width = ops.shape(tokens)[0], tokens.shape[1]
    for back in range(1, n):
        index = ops.maximum(step - back, 0)
        last = ops.slice(tokens, (0, 0, index), (batch, width, 1))
        earlier = tokens[..., n - 1 - back : steps - back]
        occurred = ops.logical_and(occurred, ops.equal(earlier, last))
    occurred = ops.logical_and(occurred, step >= n - 1)
    same = ops.equal(
        ops.expand_dims(words, -1), ops.expand_dims(tokens[..., n - 1 :], -2)
    )  # (N, W, C, T - n + 1)
    occurred = ops.expand_dims(occurred, -2)
    return ops.any(ops.logical_and(same, occurred), axis=-1)
