"""Decoding as one would explain it: lists, loops, and NumPy's captioner."""

import dataclasses
import itertools

import numpy as np

from pipelines.vocabulary import END, PADDING, START, UNKNOWN
from show_attend_tell.decoding.decode import decode
from tests import reference
from tests.show_attend_tell.layers.checks import (
    fill,
    named_weights,
    random_array,
)
from tests.show_attend_tell.tiny import D, L, V, make_captioner


@dataclasses.dataclass(frozen=True)
class PlainCaption:
    """A caption, with its end as one of its words."""

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

    With `locate`, which takes the attention and the step, one location makes
    the context.
    """

    def __init__(self, captioner, annotations, locate=None):
        self.weights = {
            name: np.asarray(weight, np.float64)
            for name, weight in named_weights(captioner).items()
        }
        self.annotations = annotations.astype(np.float64)
        self.locate = locate
        self.predictions = {}

    def _predict(self, words):
        """Returns log p of what follows; attention and gate of that step."""
        if words not in self.predictions:
            tokens = [START, *words, PADDING]
            logits, steps = reference.caption_steps(
                tokens, self.annotations, self.weights, locate=self.locate
            )
            log_p = reference.log_softmax(logits[-1])
            gate = np.mean(steps.gate[-1])
            self.predictions[words] = log_p, steps.attention[-1], gate
        return self.predictions[words]

    def predict(self, words):
        """Returns log p of what follows, and the attention of that step."""
        return self._predict(words)[:2]

    def attention(self, words):
        return self.attention_and_gate(words)[0]

    def attention_and_gate(self, words):
        """Returns them for every step, `(T, L)` and `(T,)`."""
        steps = [self._predict(words[:t])[1:] for t in range(len(words))]
        attention, gate = zip(*steps, strict=True) if steps else ([], [])
        return np.reshape(attention, (-1, L)), np.array(gate)

    def caption(self, words):
        log_p = [self.predict(words[:t])[0][w] for t, w in enumerate(words)]
        return PlainCaption(words, sum(log_p))


def allowed(words, decoding):
    """Returns the words that may follow, in the order of their numbers."""
    never = {PADDING, START} | (set() if decoding.allow_unknown else {UNKNOWN})
    if len(words) < decoding.min_words:
        never.add(END)
    n = decoding.no_repeat_ngram_size
    if n:
        for word in range(V):
            longer = (*words, word)
            grams = [longer[i : i + n] for i in range(len(longer) - n + 1)]
            if word != END and len(grams) > len(set(grams)):
                never.add(word)
    return [word for word in range(V) if word not in never]


def continuations(oracle, caption, decoding):
    """Returns every caption that is one word longer, the likeliest first."""
    log_p, _ = oracle.predict(caption.words)
    words, total = caption.words, caption.log_probability
    longer = [
        PlainCaption((*words, word), total + log_p[word])
        for word in allowed(words, decoding)
    ]
    return sorted(longer, key=lambda one: -one.log_probability)


def greedy(oracle, decoding):
    caption = PlainCaption((), 0.0)
    while not caption.finished:
        best = continuations(oracle, caption, decoding)[0]
        if len(caption.words) == decoding.max_words and not best.finished:
            return caption
        caption = best
    return caption


def beam(oracle, decoding):
    """Returns all captions that left the beam, the best first."""
    width = decoding.beam_width
    beam, pool = [PlainCaption((), 0.0)], []
    for _ in range(decoding.max_words):
        longer = [
            one
            for caption in beam
            for one in continuations(oracle, caption, decoding)
        ]
        longer.sort(key=lambda one: -one.log_probability)
        pool += [one for one in longer[:width] if one.finished]
        beam = [one for one in longer[:width] if not one.finished]
        if len(pool) >= width:
            beam = []
    for caption in beam:
        best = continuations(oracle, caption, decoding)[:width]
        pool.append(next((one for one in best if one.finished), caption))
    return sorted(pool, key=lambda o: (not o.finished, -o.score(decoding)))


def search(oracle, decoding):
    """Returns the captions that `decode` is to return."""
    if decoding.method == "greedy":
        return [greedy(oracle, decoding)]
    return beam(oracle, decoding)[: decoding.num_captions]


def every_caption(oracle, decoding):
    """Returns all captions that there are, the best first."""
    words = allowed((), dataclasses.replace(decoding, min_words=1))
    captions = [
        oracle.caption((*chosen, END))
        for length in range(decoding.min_words, decoding.max_words + 1)
        for chosen in itertools.product(words, repeat=length)
    ]
    return sorted(captions, key=lambda one: -one.score(decoding))


def annotations_of(n):
    return np.maximum(random_array(n, L, D, scale=3.0), 0)


def noise_of(n, decoding, seed=0):
    shape = (n, decoding.width, decoding.steps, 2)
    return np.random.default_rng(seed).random(shape, np.float32)


def varied_captioner(seed=11, scale=1.5, **arguments):
    """A captioner whose captions end early, late, and not at all."""
    captioner = make_captioner(seed=seed, scale=scale, **arguments)
    # Words that may not be generated are the likeliest.
    add_to_bias(captioner, {PADDING: 3.0, START: 3.0, UNKNOWN: 3.0, END: 1.0})
    return captioner


def captioner_of(word, **arguments):
    """A captioner that is certain of one word, whatever the image."""
    captioner = varied_captioner(**arguments)
    fill(captioner)
    captioner.output_layer.output_bias.assign(np.zeros(V))
    add_to_bias(captioner, {word: 1e3})
    return captioner


def add_to_bias(captioner, amounts):
    bias = np.array(captioner.output_layer.output_bias)
    for word, amount in amounts.items():
        bias[word] += amount
    captioner.output_layer.output_bias.assign(bias)


def assert_captions(captions, i, expected, decoding, oracle):
    """Compares the captions of image i with plain captions."""
    for h, caption in enumerate(expected):
        steps = len(caption.words)
        padding = (PADDING,) * (decoding.steps - steps)
        tokens = tuple(np.asarray(captions.tokens[i, h]))
        assert tokens == caption.words + padding, (i, h)
        assert bool(captions.finished[i, h]) == caption.finished
        assert int(captions.lengths[i, h]) == steps - caption.finished
        for value, of_plain in (
            (captions.log_probability[i, h], caption.log_probability),
            (captions.score[i, h], caption.score(decoding)),
        ):
            np.testing.assert_allclose(value, of_plain, atol=1e-4)
        attention, gate = oracle.attention_and_gate(caption.words)
        for all_steps, values in (
            (captions.attention[i, h], attention),
            (captions.gate[i, h], gate),
        ):
            np.testing.assert_allclose(all_steps[:steps], values, atol=1e-5)
            assert not np.any(all_steps[steps:])
        locations = [
            oracle.locate(alpha, t) if oracle.locate else -1
            for t, alpha in enumerate(attention)
        ]
        np.testing.assert_array_equal(
            captions.locations[i, h], locations + [-1] * len(padding)
        )


def check_search(captioner, annotations, decoding, noise=None, locate=None):
    """Compares `decode` with plain search.

    `locate` takes the attention, the step and the number of the image.
    """
    captions = decode(captioner, annotations, decoding, noise)
    for i in range(len(annotations)):
        here = locate and (lambda attention, t, i=i: locate(attention, t, i))
        oracle = Oracle(captioner, annotations[i], here)
        expected = search(oracle, decoding)
        assert_captions(captions, i, expected, decoding, oracle)
