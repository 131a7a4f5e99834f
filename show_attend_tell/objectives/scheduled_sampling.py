"""Learning to go on from one's own words, not from people's alone."""

import keras
from keras import ops

from pipelines.vocabulary import END, UNKNOWN

_NEVER = -1e9


class ScheduledSampling(keras.layers.Layer):
    """Puts words that the model draws in the place of previous words.

    Scheduled sampling (Bengio et al. 2015) in two passes (Mihaylova and
    Martins 2019; Duckworth et al. 2019), so that the recurrence stays whole:
    the model reads the people's words, without dropout and without gradient;
    at each place a word is drawn from what it expects there; then it reads
    the caption with some words replaced by those. What it should say next
    stays what people said.

    The start, the end and padding stay, and are not drawn: none of them ever
    is a previous word that the model has said itself.

    Args:
        share: The probability that a previous word is replaced, until
            `probability` is given another value.
    """

    def __init__(self, share: float):
        super().__init__(name="scheduled_sampling", dtype="float32")
        self.seed_generators = [keras.random.SeedGenerator(n) for n in (0, 1)]
        self.probability = self.add_weight(
            name="probability",
            shape=(),
            initializer=keras.initializers.Constant(share),
            trainable=False,
        )
        self.built = True

    def mixed(self, tokens, logits_of):
        """Returns the tokens with drawn words in place of some.

        Args:
            tokens: `(N, K, T + 1)`.
            logits_of: Returns the logits of the T words that follow,
                `(N, K, T, V)`; called where any word is to be replaced.
        """
        return ops.cond(
            self.probability > 0,
            lambda: self._replaced(tokens, logits_of()),
            lambda: tokens,
        )

    def _replaced(self, tokens, logits):
        words, chance = self.seed_generators
        previous = tokens[:, :, 1:]
        drawn = _drawn(ops.stop_gradient(logits), words)
        drawn = ops.reshape(ops.cast(drawn, tokens.dtype), ops.shape(previous))
        chosen = (
            keras.random.uniform(ops.shape(previous), seed=chance)
            < self.probability
        )
        replaced = ops.logical_and(chosen, previous > END)
        mixed = ops.where(replaced, drawn, previous)
        return ops.concatenate([tokens[:, :, :1], mixed], axis=-1)


def _drawn(logits, seed):
    """Draws a word at each place, one row after the other."""
    size = logits.shape[-1]
    never = _NEVER * ops.cast(ops.arange(size) < UNKNOWN, "float32")
    logits = ops.reshape(ops.cast(logits, "float32") + never, (-1, size))
    return keras.random.categorical(logits, 1, seed=seed)
