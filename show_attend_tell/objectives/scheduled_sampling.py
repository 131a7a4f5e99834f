"""Learning from previous words that the model samples (Bengio et al. 2015)."""

import keras
from keras import ops

from pipelines.vocabulary import END, UNKNOWN

_MASKED = -1e9


def replace_previous_words(tokens, logits, probability, seeds):
    """Replaces some previous words by samples of the model.

    Scheduled sampling in two passes (Mihaylova and Martins 2019; Duckworth et
    al. 2019), so that the recurrence stays in one piece: the first pass, with
    the references as previous words, gives the logits that words are sampled
    from; the second reads the result of this function. The words to predict
    stay those of the references.

    Start, end and padding are neither replaced nor sampled: none of them is
    ever a previous word when captions are generated.

    Args:
        tokens: `(N, K, T + 1)`.
        logits: Of the T words that follow, `(N, K, T, V)`.
        probability: That a previous word is replaced, a scalar.
        seeds: Two `keras.random.SeedGenerator`: which word, and where.

    Returns:
        Tokens, `(N, K, T + 1)`.
    """
    seed_of_words, seed_of_positions = seeds
    previous = tokens[:, :, 1:]
    size = logits.shape[-1]
    special = ops.cast(ops.arange(size) < UNKNOWN, "float32")
    logits = ops.cast(logits, "float32") + _MASKED * special
    sampled = keras.random.categorical(
        ops.reshape(logits, (-1, size)), 1, seed=seed_of_words
    )
    sampled = ops.reshape(ops.cast(sampled, tokens.dtype), ops.shape(previous))
    chosen = (
        keras.random.uniform(ops.shape(previous), seed=seed_of_positions)
        < probability
    )
    replaced = ops.logical_and(chosen, previous > END)
    mixed = ops.where(replaced, sampled, previous)
    return ops.concatenate([tokens[:, :, :1], mixed], axis=-1)
