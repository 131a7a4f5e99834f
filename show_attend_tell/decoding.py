"""From annotations to words, one after the other."""

import typing

from keras import ops

from pipelines.vocabulary import END, PADDING, START, UNKNOWN

# Log-probability of what may not be said; finite, so that sums stay finite.
_NEVER = -1e9


class Captions(typing.NamedTuple):
    """What was said of each of N images, and where the model looked.

    Attributes:
        tokens: `(N, T)` int32; after the end token, padding.
        lengths: `(N,)` int32, words without the end token.
        finished: `(N,)` bool, whether the end token was reached.
        log_probability: `(N,)` float32, of the words and the end token.
        attention: `(N, T, L)` float32; zero after the end token.
        gate: `(N, T)` float32, the mean of a vector gate.
    """

    tokens: typing.Any
    lengths: typing.Any
    finished: typing.Any
    log_probability: typing.Any
    attention: typing.Any
    gate: typing.Any


def greedy(captioner, annotations, max_words: int = 30) -> Captions:
    """Says the likeliest word at every step.

    Padding, start and unknown are never said. The loop ends when every
    caption has ended, or after `max_words` words and the end token.

    Args:
        captioner: A `Captioner`.
        annotations: `(N, L, D)`, as the encoder gave them.
        max_words: T - 1.

    Returns:
        `Captions` with `T = max_words + 1`.
    """
    state, annotations, keys = captioner.begin(annotations)
    n, locations = ops.shape(annotations)[0], ops.shape(annotations)[1]
    steps = max_words + 1
    silent = _silent_words(captioner.output_layer.vocabulary_size)

    def unfinished(t, token, state, done, captions):
        return ops.logical_and(
            t < steps, ops.logical_not(ops.all(done))
        )

    def speak(t, token, state, done, captions):
        logits, state, attention, gate = captioner.step(
            token, state, annotations, keys
        )
        logits = ops.cast(logits, "float32")
        # log p(word), of all words: what may not be said keeps its share.
        best, token = ops.top_k(logits + silent, 1)
        log_p = best[:, 0] - ops.logsumexp(logits, axis=-1)
        token = ops.cast(token[:, 0], "int32")
        ends = ops.equal(token, END)
        # After `max_words` words there is room for the end token alone.
        cut = ops.logical_and(t == max_words, ops.logical_not(ends))
        mute = ops.logical_or(done, cut)
        alive = ops.cast(ops.logical_not(mute), "float32")
        token = ops.where(mute, PADDING, token)
        ends = ops.equal(token, END)
        is_word = ops.logical_not(ops.logical_or(mute, ends))
        done = ops.logical_or(done, ends)
        captions = Captions(
            tokens=_put(captions.tokens, t, token),
            lengths=captions.lengths + ops.cast(is_word, "int32"),
            finished=done,
            log_probability=captions.log_probability + alive * log_p,
            attention=_put(
                captions.attention, t, alive[:, None] * attention
            ),
            gate=_put(captions.gate, t, alive * ops.mean(gate, axis=-1)),
        )
        return t + 1, token, state, done, captions

    done = ops.zeros((n,), dtype="bool")
    empty = Captions(
        tokens=ops.full((n, steps), PADDING, dtype="int32"),
        lengths=ops.zeros((n,), dtype="int32"),
        finished=done,
        log_probability=ops.zeros((n,), dtype="float32"),
        attention=ops.zeros((n, steps, locations), dtype="float32"),
        gate=ops.zeros((n, steps), dtype="float32"),
    )
    token = ops.full((n,), START, dtype="int32")
    loop = ops.while_loop(
        unfinished, speak, (0, token, state, done, empty)
    )
    return loop[-1]


def _silent_words(vocabulary_size):
    """Returns `(V,)`: zero, and very little for what may not be said."""
    words = ops.arange(vocabulary_size)
    never = [ops.equal(words, word) for word in (PADDING, START, UNKNOWN)]
    return _NEVER * ops.cast(ops.any(ops.stack(never), axis=0), "float32")


def _put(buffer, step, value):
    start = (0, step) + (0,) * (len(buffer.shape) - 2)
    return ops.slice_update(buffer, start, ops.expand_dims(value, 1))
