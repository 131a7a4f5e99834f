"""Beam search: several hypotheses side by side, the best to the end."""

import typing

from keras import ops, tree

from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.decoding.candidates import (
    MASKED_LOG_PROBABILITY,
    candidates,
    gather,
)
from show_attend_tell.decoding.context_weights import ContextWeights
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.decoding.loop_state import begin, scatter_update
from show_attend_tell.decoding.settings import Decoding

# A caption that never ends ranks behind every one that does.
_CUT = -1e6
# And this is no caption at all.
_EMPTY = -1e12


class _Hypotheses(typing.NamedTuple):
    """W captions of each image, whole or in the making.

    Attributes:
        log_probability: `(N, W)`; `MASKED_LOG_PROBABILITY` or less for one of no use.
        token: The last word, `(N, W)`.
        said: The words so far, `(N, W, T)`.
        slots: At which of the W locations the hypothesis was at each step,
            `(N, W, T)`. Attention stays where it was written, and is found
            by this at the end.
    """

    log_probability: typing.Any
    token: typing.Any
    said: typing.Any
    slots: typing.Any


class _Seen(typing.NamedTuple):
    """What each place of the beam saw at each step.

    Attributes:
        attention: `(N, T, W, L)`.
        gate: `(N, T, W)`.
        locations: `(N, T, W)`.
    """

    attention: typing.Any
    gate: typing.Any
    locations: typing.Any


class _Pool(typing.NamedTuple):
    """Captions that have left the beam, the best W so far, best first.

    Attributes:
        rank: `(N, W)`, the score, lowered for those that were cut.
        log_probability: `(N, W)`.
        counted: `(N, W)`, the number of words, and of the end.
        said: `(N, W, T)`.
        slots: `(N, W, T)`.
    """

    rank: typing.Any
    log_probability: typing.Any
    counted: typing.Any
    said: typing.Any
    slots: typing.Any


def search(
    captioner, annotations, decoding: Decoding, noise=None
) -> DecodedCaptions:
    """Keeps the W likeliest hypotheses at every step.

    All continuations of all hypotheses compete by log-probability. Those of
    the best W that end leave the beam and are ranked by score; the others go
    on, and have all W locations for their continuations. After `max_words`
    words a hypothesis ends if the end is among its own W likeliest words;
    otherwise it is cut, and ranks behind all that ended.

    An image is done when W of its hypotheses have ended, or when nothing in
    its beam can overtake the last of the captions to be returned: a
    log-probability only falls, and a caption has T words at most.

    Args:
        captioner: A `Captioner`.
        annotations: `(N, L, D)`.
        decoding: The settings.
        noise: `(N, W, T, 2)` uniform in [0, 1), where chance is needed.

    Returns:
        `DecodedCaptions`. Where an image has fewer than H hypotheses, as with very
        few words, the last are empty, with the log-probability `MASKED_LOG_PROBABILITY`.
    """
    width, steps = decoding.beam_width, decoding.steps
    state, annotations, keys = begin(captioner, annotations, width)
    n, num_locations = ops.shape(annotations)[0], annotations.shape[1]

    def unfinished(t, beam, state, pool, seen):
        best = ops.max(beam.log_probability, axis=-1)
        reachable = best / steps**decoding.length_penalty
        last = pool.rank[:, decoding.num_captions - 1]
        on = ops.logical_and(
            best > MASKED_LOG_PROBABILITY / 2, reachable > last
        )
        return ops.logical_and(t < steps, ops.any(on))

    def step(t, beam, state, pool, seen):
        context_weights = ContextWeights(decoding, noise, t)
        logits, state, attention, gate = captioner.step(
            beam.token, state, annotations, keys, context_weights
        )
        seen = _Seen(
            scatter_update(seen.attention, attention, 1, t),
            scatter_update(seen.gate, ops.mean(gate, axis=-1), 1, t),
            scatter_update(seen.locations, context_weights.locations, 1, t),
        )
        log_p, words = candidates(logits, t, beam.said, decoding, width)
        grown, parents = _grown(beam, log_p, words, t)
        last = t == decoding.max_words
        closed = _closed(beam, log_p, words, t)
        leaving = _Hypotheses(
            *(
                ops.where(last, *both)
                for both in zip(closed, grown, strict=True)
            )
        )
        pool = _ranked(pool, leaving, t, last, decoding)
        full = ops.min(pool.rank, axis=-1, keepdims=True) > _CUT / 2
        over = ops.logical_or(full, ops.equal(grown.token, END))
        beam = grown._replace(
            log_probability=ops.where(
                over, MASKED_LOG_PROBABILITY, grown.log_probability
            )
        )
        state = tree.map_structure(lambda x: gather(x, parents), state)
        return t + 1, beam, state, pool, seen

    alone = ops.where(
        ops.equal(ops.arange(width), 0), 0.0, MASKED_LOG_PROBABILITY
    )
    nobody = ops.full((n, width, steps), PADDING, dtype="int32")
    beam = _Hypotheses(
        log_probability=ops.broadcast_to(alone, (n, width)),
        token=ops.full((n, width), START, dtype="int32"),
        said=nobody,
        slots=nobody,
    )
    pool = _Pool(
        rank=ops.full((n, width), _EMPTY, dtype="float32"),
        log_probability=ops.full(
            (n, width), MASKED_LOG_PROBABILITY, dtype="float32"
        ),
        counted=ops.zeros((n, width), dtype="int32"),
        said=nobody,
        slots=nobody,
    )
    seen = _Seen(
        attention=ops.zeros((n, steps, width, num_locations), dtype="float32"),
        gate=ops.zeros((n, steps, width), dtype="float32"),
        locations=ops.full((n, steps, width), -1, dtype="int32"),
    )
    _, _, _, pool, seen = ops.while_loop(
        unfinished, step, (0, beam, state, pool, seen)
    )
    return _captions(pool, seen, decoding)


def _grown(beam, log_p, words, t):
    """Returns the W likeliest continuations, and whose they are."""
    total = ops.expand_dims(beam.log_probability, -1) + log_p  # (N, W, C)
    width, count = total.shape[1:]
    best, index = ops.top_k(ops.reshape(total, (-1, width * count)), width)
    index = ops.cast(index, "int32")
    parents = index // count
    token = gather(ops.reshape(words, (-1, width * count)), index)
    grown = _Hypotheses(
        log_probability=best,
        token=token,
        said=scatter_update(gather(beam.said, parents), token, 2, t),
        slots=scatter_update(gather(beam.slots, parents), parents, 2, t),
    )
    return grown, parents


def _closed(beam, log_p, words, t):
    """Returns every hypothesis with its end, where that is a candidate."""
    end = ops.where(ops.equal(words, END), log_p, 2 * MASKED_LOG_PROBABILITY)
    end = ops.max(end, axis=-1)
    ends = end > MASKED_LOG_PROBABILITY / 2
    token = ops.where(ends, END, PADDING)
    own = ops.broadcast_to(ops.arange(token.shape[1]), ops.shape(token))
    return _Hypotheses(
        log_probability=beam.log_probability + ops.where(ends, end, 0.0),
        token=token,
        said=scatter_update(beam.said, token, 2, t),
        slots=scatter_update(beam.slots, own, 2, t),
    )


def _ranked(pool, leaving, t, last, decoding):
    """Returns the pool with those that leave the beam at step t."""
    ends = ops.equal(leaving.token, END)
    leaves = ops.logical_and(
        leaving.log_probability > MASKED_LOG_PROBABILITY / 2,
        ops.logical_or(ends, last),
    )
    counted = t + ops.cast(ends, "int32")
    length = ops.cast(ops.maximum(counted, 1), "float32")
    score = leaving.log_probability / length**decoding.length_penalty
    rank = ops.where(ends, score, score + _CUT)
    left = _Pool(
        rank=ops.where(leaves, rank, _EMPTY),
        log_probability=leaving.log_probability,
        counted=counted,
        said=leaving.said,
        slots=leaving.slots,
    )
    both = _Pool(
        *(ops.concatenate(x, axis=1) for x in zip(pool, left, strict=True))
    )
    _, order = ops.top_k(both.rank, pool.rank.shape[1])
    return _Pool(*(gather(value, order) for value in both))


def _captions(pool, seen, decoding) -> DecodedCaptions:
    """Returns the best H of the pool, with what was seen on their way."""
    pool = _Pool(*(value[:, : decoding.num_captions] for value in pool))
    empty = pool.rank < _EMPTY / 2
    finished = pool.rank > _CUT / 2
    counted = ops.where(empty, 0, pool.counted)
    slots = ops.transpose(pool.slots, (0, 2, 1))  # (N, T, H)
    attention, gate, locations = (gather(x, slots, axes=2) for x in seen)
    on = ops.arange(decoding.steps) < ops.expand_dims(counted, -1)
    alive = ops.cast(on, "float32")
    log_probability = ops.where(
        empty, MASKED_LOG_PROBABILITY, pool.log_probability
    )
    length = ops.cast(ops.maximum(counted, 1), "float32")
    return DecodedCaptions(
        tokens=ops.where(on, pool.said, PADDING),
        lengths=counted - ops.cast(finished, "int32"),
        finished=finished,
        log_probability=log_probability,
        score=log_probability / length**decoding.length_penalty,
        attention=ops.transpose(attention, (0, 2, 1, 3)) * alive[..., None],
        gate=ops.transpose(gate, (0, 2, 1)) * alive,
        locations=ops.where(on, ops.transpose(locations, (0, 2, 1)), -1),
    )
