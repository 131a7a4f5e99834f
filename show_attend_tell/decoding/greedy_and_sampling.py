"""Greedy decoding and sampling."""

from keras import ops

from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.candidates import (
    MASKED_LOG_PROBABILITY,
    candidates,
)
from show_attend_tell.decoding.context_weights import (
    ContextWeights,
    noise_of_step,
    sample,
)
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.decoding.loop_state import begin, gather, scatter_update


def greedy_or_sample(
    captioner, annotations, decoding: Decoding, noise=None
) -> DecodedCaptions:
    """Takes the likeliest word at every step, or a sampled one.

    A word is sampled from `softmax(log p / temperature)` over the words that
    `top_k` and `top_p` leave. The log-probability is that of the model. See
    `decode` for the arguments.
    """
    width, steps = decoding.num_captions, decoding.steps
    state, annotations, keys = begin(captioner, annotations, width)
    is_sampling = decoding.method == "sample"
    count = _count(captioner, decoding) if is_sampling else 1

    def unfinished(t, token, state, done, captions):
        return ops.logical_and(t < steps, ops.logical_not(ops.all(done)))

    def step(t, token, state, done, captions):
        context_weights = ContextWeights(decoding, noise, t)
        logits, state, attention, gate = captioner.step(
            token, state, annotations, keys, context_weights
        )
        log_p, words = candidates(logits, t, captions.tokens, decoding, count)
        if is_sampling:
            index = _sample(log_p, noise_of_step(noise, t, 0), decoding)
            log_p, words = (gather(x, index, axes=2) for x in (log_p, words))
        log_p, token = log_p[..., 0], words[..., 0]  # (N, H)
        # After `max_words` words there is room for the end token only. And
        # where every word is excluded, none can be taken.
        is_last = t == decoding.max_words
        cut = ops.logical_and(is_last, ops.not_equal(token, END))
        cut = ops.logical_or(cut, log_p < MASKED_LOG_PROBABILITY / 2)
        done = ops.logical_or(done, cut)
        token = ops.where(done, PADDING, token)
        captions = _append(
            captions, t, done, token, log_p, attention, gate, context_weights
        )
        done = ops.logical_or(done, ops.equal(token, END))
        return t + 1, token, state, done, captions

    n, num_locations = ops.shape(annotations)[0], annotations.shape[1]
    captions = _empty(n, width, steps, num_locations)
    start = ops.full((n, width), START, dtype="int32")
    captions = ops.while_loop(
        unfinished, step, (0, start, state, captions.finished, captions)
    )[-1]
    count = captions.lengths + ops.cast(captions.finished, "int32")
    length = ops.cast(ops.maximum(count, 1), "float32")
    return captions._replace(
        score=captions.log_probability / length**decoding.length_penalty
    )


def _append(
    captions, t, done, token, log_p, attention, gate, context_weights
) -> DecodedCaptions:
    """Returns the captions with the words of step t, where not yet done."""
    going_on = ops.cast(ops.logical_not(done), "float32")
    locations = ops.where(done, -1, context_weights.locations)
    attention = going_on[..., None] * attention
    gate = going_on * ops.mean(gate, axis=-1)
    return captions._replace(
        tokens=scatter_update(captions.tokens, token, 2, t),
        lengths=captions.lengths + ops.cast(token > END, "int32"),
        finished=ops.logical_or(captions.finished, ops.equal(token, END)),
        log_probability=captions.log_probability + ops.where(done, 0.0, log_p),
        attention=scatter_update(captions.attention, attention, 2, t),
        gate=scatter_update(captions.gate, gate, 2, t),
        locations=scatter_update(captions.locations, locations, 2, t),
    )


def _empty(n, width, steps, num_locations) -> DecodedCaptions:
    zeros = ops.zeros((n, width), dtype="float32")
    return DecodedCaptions(
        tokens=ops.full((n, width, steps), PADDING, dtype="int32"),
        lengths=ops.zeros((n, width), dtype="int32"),
        finished=ops.zeros((n, width), dtype="bool"),
        log_probability=zeros,
        score=zeros,
        attention=ops.zeros((n, width, steps, num_locations), dtype="float32"),
        gate=ops.zeros((n, width, steps), dtype="float32"),
        locations=ops.full((n, width, steps), -1, dtype="int32"),
    )


def _count(captioner, decoding: Decoding) -> int | None:
    """Returns how many of the likeliest words sampling needs."""
    if decoding.top_k:
        return decoding.top_k
    # Sorting a large vocabulary takes longer than all the rest of a step.
    return captioner.vocabulary_size if decoding.top_p < 1 else None


def _sample(log_p, noise, decoding: Decoding):
    """Returns the index of the sampled candidate, `(N, H, 1)` int32."""
    probability = ops.softmax(log_p / decoding.temperature, axis=-1)
    if decoding.top_p < 1:
        before = ops.cumsum(probability, axis=-1) - probability
        probability = probability * ops.cast(before < decoding.top_p, "float32")
    return sample(probability, noise)
