"""Decoding as one would explain it: lists, loops, and NumPy's captioner."""

import dataclasses
import itertools

import numpy as np

from pipelines.vocabulary import END, PADDING, START, UNKNOWN
from tests import reference
from tests.show_attend_tell.layers.checks import (
    fill,
    named_weights,
    random_array,
)
from tests.show_attend_tell.test_model import D, L, V, made


@dataclasses.dataclass(frozen=True)
class PlainCaption:
    """A caption, its end as a word of it."""

    words: tuple
    log_probability: float

    @property
    def finished(self):
        return self.words[-1:] == (END,)

    def score(self, decoding):
        length = max(len(self.words), 1)
        return self.log_probability / length**decoding.length_penalty


class Oracle:
    """Scores the words that may follow, by the paper's equations in NumPy.

    With `place`, which takes the attention and the step, a word is said from
    one location alone.
    """

    def __init__(self, captioner, annotations, place=None):
        self.weights = {
            name: np.asarray(weight, np.float64)
            for name, weight in named_weights(captioner).items()
        }
        self.annotations = annotations.astype(np.float64)
        self.place = place
        self.known = {}

    def predict(self, words):
        """Returns log p of what follows, and the attention of that step."""
        if words not in self.known:
            tokens = [START, *words, PADDING]
            run = reference.caption_loop if self.place is None else self._hard
            logits, attention = run(tokens, self.annotations, self.weights)
            self.known[words] = (
                reference.log_softmax(logits[-1]),
                attention[-1],
            )
        return self.known[words]

    def _hard(self, tokens, annotations, w):
        cell = reference.below(w, "decoder/cell")
        hidden, memory = reference.initial_state(
            annotations, reference.below(w, "initial_state")
        )
        logits, attentions = [], []
        for t, token in enumerate(tokens[:-1]):
            embedding = w["embedding/embeddings"][token]
            _, attention = reference.attend(
                hidden, annotations, reference.below(cell, "attention")
            )
            context = annotations[self.place(attention, t)]
            context = reference.gate(hidden, cell) * context
            hidden, memory = reference.lstm(
                embedding, context, hidden, memory, cell
            )
            logits.append(
                reference.deep_output(
                    embedding, hidden, context, reference.below(w, "output")
                )
            )
            attentions.append(attention)
        return np.stack(logits), np.stack(attentions)

    def attention(self, words):
        return np.array([self.predict(words[:t])[1] for t in range(len(words))])


def allowed(words, decoding):
    """Returns what may follow, in the order of its number."""
    never = {PADDING, START} | (set() if decoding.allow_unknown else {UNKNOWN})
    if len(words) < decoding.min_words:
        never.add(END)
    n = decoding.no_repeat_ngram_size
    if n:
        for word in range(V):
            grams = [
                (*words, word)[i : i + n] for i in range(len(words) - n + 2)
            ]
            if word != END and len(grams) > len(set(grams)):
                never.add(word)
    return [word for word in range(V) if word not in never]


def continuations(oracle, said, decoding):
    """Returns every caption that is one word longer, the likeliest first."""
    log_p, _ = oracle.predict(said.words)
    longer = [
        PlainCaption((*said.words, word), said.log_probability + log_p[word])
        for word in allowed(said.words, decoding)
    ]
    return sorted(longer, key=lambda one: -one.log_probability)


def greedy(oracle, decoding):
    said = PlainCaption((), 0.0)
    while not said.finished:
        best = continuations(oracle, said, decoding)[0]
        if len(said.words) == decoding.max_words and not best.finished:
            return said
        said = best
    return said


def beam(oracle, decoding):
    """Returns all that left the beam, the best first."""
    width = decoding.beam_width
    going, gone = [PlainCaption((), 0.0)], []
    for _ in range(decoding.max_words):
        longer = [
            one
            for said in going
            for one in continuations(oracle, said, decoding)
        ]
        longer.sort(key=lambda one: -one.log_probability)
        gone += [one for one in longer[:width] if one.finished]
        going = [one for one in longer[:width] if not one.finished]
        if len(gone) >= width:
            going = []
    for said in going:
        own = continuations(oracle, said, decoding)[:width]
        gone.append(next((one for one in own if one.finished), said))
    return sorted(gone, key=lambda o: (not o.finished, -o.score(decoding)))


def every_caption(oracle, decoding):
    """Returns all captions that there are, the best first."""
    words = allowed((), dataclasses.replace(decoding, min_words=1))
    said = []
    for length in range(decoding.min_words, decoding.max_words + 1):
        for chosen in itertools.product(words, repeat=length):
            caption = (*chosen, END)
            log_probability = sum(
                oracle.predict(caption[:t])[0][word]
                for t, word in enumerate(caption)
            )
            said.append(PlainCaption(caption, log_probability))
    return sorted(said, key=lambda one: -one.score(decoding))


def annotations_of(n):
    return np.maximum(random_array(n, L, D, scale=3.0), 0)


def varied_captioner(seed=11, scale=1.5, **arguments):
    """A captioner whose captions end early, late, and not at all."""
    captioner = made(seed=seed, scale=scale, **arguments)
    bias = np.asarray(captioner.output_layer.output_bias).copy()
    bias[[PADDING, START, UNKNOWN]] += 3.0  # Liked best, but may not be said.
    bias[END] += 1.0
    captioner.output_layer.output_bias.assign(bias)
    return captioner


def certain_of(word, **arguments):
    """A captioner that says one word, whatever it sees."""
    captioner = varied_captioner(**arguments)
    fill(captioner)
    bias = np.zeros(V, np.float32)
    bias[word] = 1e3
    captioner.output_layer.output_bias.assign(bias)
    return captioner


def assert_captions(captions, i, expected, decoding, oracle):
    """Compares the hypotheses of image i with plain captions."""
    for h, said in enumerate(expected):
        rest = (PADDING,) * (decoding.steps - len(said.words))
        found = tuple(np.asarray(captions.tokens[i, h]))
        assert found == said.words + rest, (i, h)
        assert bool(captions.finished[i, h]) == said.finished
        words = len(said.words) - said.finished
        assert int(captions.lengths[i, h]) == words
        np.testing.assert_allclose(
            captions.log_probability[i, h], said.log_probability, atol=1e-4
        )
        np.testing.assert_allclose(
            captions.score[i, h], said.score(decoding), atol=1e-4
        )
        steps = len(said.words)
        np.testing.assert_allclose(
            captions.attention[i, h, :steps],
            oracle.attention(said.words).reshape(-1, L),
            atol=1e-5,
        )
        assert not np.any(captions.attention[i, h, steps:])
        assert not np.any(captions.gate[i, h, steps:])
