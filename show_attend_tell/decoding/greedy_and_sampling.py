"""One word after the other, never looking back: greedy and sampling."""

from keras import ops

from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.decoding.candidates import (
    MASKED_LOG_PROBABILITY,
    candidates,
    gather,
)
from show_attend_tell.decoding.context_weights import (
    ContextWeights,
    noise_of_step,
    sample,
)
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.decoding.loop_state import begin, scatter_update
from show_attend_tell.decoding.settings import Decoding


def greedy_or_sample(
    captioner, annotations, decoding: Decoding, noise=None
) -> DecodedCaptions:
    """Says the likeliest word at every step, or a drawn one.

    A word is drawn from `softmax(log p / temperature)` over the words that
    `top_k` and `top_p` leave. The log-probability is that of the model.

    Args:
        captioner: A `Captioner`.
        annotations: `(N, L, D)`.
        decoding: The settings.
        noise: `(N, H, T, 2)` uniform in [0, 1), where chance is needed.
    """
    width, steps = decoding.num_captions, decoding.steps
    state, annotations, keys = begin(captioner, annotations, width)
    n, num_locations = ops.shape(annotations)[0], annotations.shape[1]
    sampling = decoding.method == "sample"
    count = _count(captioner, decoding) if sampling else 1

    def unfinished(t, token, state, done, captions):
        return ops.logical_and(t < steps, ops.logical_not(ops.all(done)))

    def speak(t, token, state, done, captions):
        context_weights = ContextWeights(decoding, noise, t)
        logits, state, attention, gate = captioner.step(
            token, state, annotations, keys, context_weights
        )
        log_p, words = candidates(logits, t, captions.tokens, decoding, count)
        if not sampling:
            log_p, token = log_p[..., 0], words[..., 0]
        else:
            index = _draw(log_p, noise_of_step(noise, t, 0), decoding)
            log_p = gather(log_p, index, axes=2)[..., 0]
            token = gather(words, index, axes=2)[..., 0]
        # After `max_words` words there is room for the end token alone. And
        # where every word is banned, nothing can be said.
        cut = ops.logical_and(
            t == decoding.max_words, ops.not_equal(token, END)
        )
        cut = ops.logical_or(cut, log_p < MASKED_LOG_PROBABILITY / 2)
        mute = ops.logical_or(done, cut)
        token = ops.where(mute, PADDING, token)
        ends = ops.equal(token, END)
        alive = ops.cast(ops.logical_not(mute), "float32")
        captions = DecodedCaptions(
            tokens=scatter_update(captions.tokens, token, 2, t),
            lengths=captions.lengths + ops.cast(token > END, "int32"),
            finished=ops.logical_or(captions.finished, ends),
            log_probability=captions.log_probability
            + ops.where(mute, 0.0, log_p),
            score=captions.score,
            attention=scatter_update(
                captions.attention, alive[..., None] * attention, 2, t
            ),
            gate=scatter_update(
                captions.gate, alive * ops.mean(gate, axis=-1), 2, t
            ),
            locations=scatter_update(
                captions.locations,
                ops.where(mute, -1, context_weights.locations),
                2,
                t,
            ),
        )
        done = ops.logical_or(mute, ends)
        return t + 1, token, state, done, captions

    nothing = ops.zeros((n, width), dtype="float32")
    none = ops.zeros((n, width), dtype="bool")
    empty = DecodedCaptions(
        tokens=ops.full((n, width, steps), PADDING, dtype="int32"),
        lengths=ops.zeros((n, width), dtype="int32"),
        finished=none,
        log_probability=nothing,
        score=nothing,
        attention=ops.zeros((n, width, steps, num_locations), dtype="float32"),
        gate=ops.zeros((n, width, steps), dtype="float32"),
        locations=ops.full((n, width, steps), -1, dtype="int32"),
    )
    token = ops.full((n, width), START, dtype="int32")
    said = ops.while_loop(unfinished, speak, (0, token, state, none, empty))[-1]
    counted = said.lengths + ops.cast(said.finished, "int32")
    length = ops.cast(ops.maximum(counted, 1), "float32")
    return said._replace(
        score=said.log_probability / length**decoding.length_penalty
    )


def _count(captioner, decoding: Decoding) -> int | None:
    """Returns how many words, the likeliest first, drawing has to know."""
    if decoding.top_k:
        return decoding.top_k
    # Sorting a large vocabulary takes longer than all the rest of a step.
    return captioner.vocabulary_size if decoding.top_p < 1 else None


def _draw(log_p, chance, decoding: Decoding):
    """Returns the number of the drawn candidate, `(N, H, 1)` int32."""
    probability = ops.softmax(log_p / decoding.temperature, axis=-1)
    if decoding.top_p < 1:
        before = ops.cumsum(probability, axis=-1) - probability
        kept = ops.cast(before < decoding.top_p, "float32")
        probability = probability * kept
    return sample(probability, chance)
