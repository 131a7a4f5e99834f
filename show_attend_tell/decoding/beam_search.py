"""Beam search: extends the likeliest hypotheses, ranks those that ended."""

import typing

from keras import ops, tree

from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.candidates import (
    MASKED_LOG_PROBABILITY,
    candidates,
)
from show_attend_tell.decoding.context_weights import ContextWeights
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.decoding.loop_state import begin, gather, scatter_update

# Added to the score of captions that were cut: they rank behind all that ended.
_CUT = -1e6
# The score of a slot of the pool that holds no caption.
_EMPTY = -1e12


class _Hypotheses(typing.NamedTuple):
    """W captions of each image, complete or not."""

    log_probability: typing.Any  # (N, W); MASKED_LOG_PROBABILITY: unused
    token: typing.Any  # (N, W): the last word
    tokens: typing.Any  # (N, W, T): the words so far
    # (N, W, T): the slot of the beam that the hypothesis held at each step.
    # The trace is not reordered: it is read by these at the end.
    slots: typing.Any


class _Trace(typing.NamedTuple):
    """The results of the decoder for each slot of the beam at each step."""

    attention: typing.Any  # (N, T, W, L)
    gate: typing.Any  # (N, T, W)
    locations: typing.Any  # (N, T, W)


class _Pool(typing.NamedTuple):
    """The best W captions that have left the beam so far, best first."""

    rank: typing.Any  # (N, W): the score, lowered for those that were cut
    log_probability: typing.Any  # (N, W)
    count: typing.Any  # (N, W): words, and the end
    tokens: typing.Any  # (N, W, T)
    slots: typing.Any  # (N, W, T)


def search(
    captioner, annotations, decoding: Decoding, noise=None
) -> DecodedCaptions:
    """Keeps the W likeliest hypotheses at every step.

    All continuations of all hypotheses compete by log-probability. Those of
    the best W that end leave the beam and are ranked by score; the others go
    on, and have all W slots for their continuations. After `max_words` words a
    hypothesis ends if the end is among its W likeliest words; otherwise it is
    cut, and ranks behind all that ended.

    An image is done when W of its hypotheses have ended, or when none in its
    beam can overtake the last of the captions to be returned: a
    log-probability only falls, and a caption has T words at most.

    Where an image has fewer than H hypotheses, as with very few words, the
    last are empty, with the log-probability `MASKED_LOG_PROBABILITY`. See
    `decode` for the arguments.
    """
    width = decoding.beam_width
    state, annotations, keys = begin(captioner, annotations, width)

    def unfinished(t, beam, state, pool, trace):
        going_on = ops.any(_can_improve(beam, pool, decoding))
        return ops.logical_and(t < decoding.steps, going_on)

    def step(t, beam, state, pool, trace):
        context_weights = ContextWeights(decoding, noise, t)
        logits, state, attention, gate = captioner.step(
            beam.token, state, annotations, keys, context_weights
        )
        trace = _Trace(
            scatter_update(trace.attention, attention, 1, t),
            scatter_update(trace.gate, ops.mean(gate, axis=-1), 1, t),
            scatter_update(trace.locations, context_weights.locations, 1, t),
        )
        log_p, words = candidates(logits, t, beam.tokens, decoding, width)
        grown, parents = _extend(beam, log_p, words, t)
        is_last = t == decoding.max_words
        leaving = tree.map_structure(
            lambda ended, grown: ops.where(is_last, ended, grown),
            _end_each(beam, log_p, words, t),
            grown,
        )
        pool = _add(pool, leaving, t, is_last, decoding)
        full = ops.min(pool.rank, axis=-1, keepdims=True) > _CUT / 2
        done = ops.logical_or(full, ops.equal(grown.token, END))
        log_probability = ops.where(
            done, MASKED_LOG_PROBABILITY, grown.log_probability
        )
        beam = grown._replace(log_probability=log_probability)
        state = tree.map_structure(lambda x: gather(x, parents), state)
        return t + 1, beam, state, pool, trace

    n, num_locations = ops.shape(annotations)[0], annotations.shape[1]
    beam, pool, trace = _start(n, width, decoding.steps, num_locations)
    *_, pool, trace = ops.while_loop(
        unfinished, step, (0, beam, state, pool, trace)
    )
    return _captions(pool, trace, decoding)


def _can_improve(beam, pool, decoding):
    """Returns whether a hypothesis can overtake the last to return, `(N,)`."""
    best = ops.max(beam.log_probability, axis=-1)
    reachable = best / decoding.steps**decoding.length_penalty
    last = pool.rank[:, decoding.num_captions - 1]
    return ops.logical_and(best > MASKED_LOG_PROBABILITY / 2, reachable > last)


def _start(n, width, steps, num_locations):
    """Returns a beam of one empty hypothesis, an empty pool and trace."""
    # The other slots hold the same hypothesis, and would only repeat it.
    is_first = ops.equal(ops.arange(width), 0)
    log_probability = ops.where(is_first, 0.0, MASKED_LOG_PROBABILITY)
    empty_tokens = ops.full((n, width, steps), PADDING, dtype="int32")
    beam = _Hypotheses(
        log_probability=ops.broadcast_to(log_probability, (n, width)),
        token=ops.full((n, width), START, dtype="int32"),
        tokens=empty_tokens,
        slots=empty_tokens,
    )
    pool = _Pool(
        rank=ops.full((n, width), _EMPTY, "float32"),
        log_probability=ops.full((n, width), MASKED_LOG_PROBABILITY, "float32"),
        count=ops.zeros((n, width), dtype="int32"),
        tokens=empty_tokens,
        slots=empty_tokens,
    )
    trace = _Trace(
        attention=ops.zeros((n, steps, width, num_locations), dtype="float32"),
        gate=ops.zeros((n, steps, width), dtype="float32"),
        locations=ops.full((n, steps, width), -1, dtype="int32"),
    )
    return beam, pool, trace


def _extend(beam, log_p, words, t):
    """Returns the W likeliest continuations, and the slots of their parents."""
    total = ops.expand_dims(beam.log_probability, -1) + log_p  # (N, W, C)
    width, count = total.shape[1:]
    best, index = ops.top_k(ops.reshape(total, (-1, width * count)), width)
    index = ops.cast(index, "int32")  # (N, W), each in [0, W x C)
    parents = index // count
    token = gather(ops.reshape(words, (-1, width * count)), index)
    grown = _Hypotheses(
        log_probability=best,
        token=token,
        tokens=scatter_update(gather(beam.tokens, parents), token, 2, t),
        slots=scatter_update(gather(beam.slots, parents), parents, 2, t),
    )
    return grown, parents


def _end_each(beam, log_p, words, t):
    """Returns every hypothesis with its end, where that is a candidate."""
    end = ops.where(ops.equal(words, END), log_p, 2 * MASKED_LOG_PROBABILITY)
    end = ops.max(end, axis=-1)  # (N, W)
    ends = end > MASKED_LOG_PROBABILITY / 2
    token = ops.where(ends, END, PADDING)
    slots = ops.broadcast_to(ops.arange(token.shape[1]), ops.shape(token))
    return _Hypotheses(
        log_probability=beam.log_probability + ops.where(ends, end, 0.0),
        token=token,
        tokens=scatter_update(beam.tokens, token, 2, t),
        slots=scatter_update(beam.slots, slots, 2, t),
    )


def _add(pool, leaving, t, is_last, decoding):
    """Returns the pool with those that leave the beam at step t."""
    ends = ops.equal(leaving.token, END)
    leaves = ops.logical_and(
        leaving.log_probability > MASKED_LOG_PROBABILITY / 2,
        ops.logical_or(ends, is_last),
    )
    count = t + ops.cast(ends, "int32")
    score = _score(leaving.log_probability, count, decoding)
    rank = ops.where(ends, score, score + _CUT)
    added = _Pool(
        rank=ops.where(leaves, rank, _EMPTY),
        log_probability=leaving.log_probability,
        count=count,
        tokens=leaving.tokens,
        slots=leaving.slots,
    )
    # (N, 2W, ...)
    both = tree.map_structure(lambda *x: ops.concatenate(x, 1), pool, added)
    _, order = ops.top_k(both.rank, pool.rank.shape[1])
    return tree.map_structure(lambda x: gather(x, order), both)


def _score(log_probability, count, decoding):
    length = ops.cast(ops.maximum(count, 1), "float32")
    return log_probability / length**decoding.length_penalty


def _captions(pool, trace, decoding) -> DecodedCaptions:
    """Returns the best H of the pool, with their attention and gates."""
    pool = tree.map_structure(lambda x: x[:, : decoding.num_captions], pool)
    is_empty = pool.rank < _EMPTY / 2
    finished = pool.rank > _CUT / 2
    count = ops.where(is_empty, 0, pool.count)
    slots = ops.transpose(pool.slots, (0, 2, 1))  # (N, T, H)
    attention, gate, locations = (gather(x, slots, axes=2) for x in trace)
    is_word = ops.arange(decoding.steps) < ops.expand_dims(count, -1)
    weight = ops.cast(is_word, "float32")  # (N, H, T)
    log_probability = pool.log_probability
    log_probability = ops.where(
        is_empty, MASKED_LOG_PROBABILITY, log_probability
    )
    return DecodedCaptions(
        tokens=ops.where(is_word, pool.tokens, PADDING),
        lengths=count - ops.cast(finished, "int32"),
        finished=finished,
        log_probability=log_probability,
        score=_score(log_probability, count, decoding),
        attention=ops.transpose(attention, (0, 2, 1, 3)) * weight[..., None],
        gate=ops.transpose(gate, (0, 2, 1)) * weight,
        locations=ops.where(is_word, ops.transpose(locations, (0, 2, 1)), -1),
    )
