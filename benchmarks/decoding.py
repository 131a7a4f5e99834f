"""Measures the speed of beam search against how it is usually written.

    python -m benchmarks.decoding --workdir=RUN

measures in turns, on the cached annotations of a run:

- `ours, batch of 32`: the search in one compiled graph, as in `evaluate`;
- `ours, batch of 1`: the same, an image at a time;
- `Python, NumPy sorts`: an image at a time; only the step of the decoder is
  compiled, on all hypotheses of the image, as in popular implementations;
- `Python sorts`: the same, and Python sorts a list of all continuations, as in
  the best known tutorials.

The captions of all must be equal, which is checked first. Each has the least
time of several rounds.
"""

import functools
import os

import numpy as np
import tensorflow as tf
from absl import app, flags

from benchmarks.timing import timed_in_turns
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.errors import UserError
from pipelines.vocabulary import END, PADDING, START, UNKNOWN
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.decoding.decode import decode
from show_attend_tell.inference.model_files import load_captioner
from show_attend_tell.model import DecodingState

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "Folder of a finished run.", required=True
)
_ANNOTATIONS = flags.DEFINE_string(
    "annotations", None, "Folder of its annotations, if not in the workdir."
)
_IMAGES = flags.DEFINE_integer("images", 32, "In the large batch.")
_WIDTH = flags.DEFINE_integer("beam_width", 5, "W.", lower_bound=1)
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each.", lower_bound=1)


class InGraph:
    """Beam search of this project, in one graph."""

    def __init__(self, captioner, decoding: Decoding, batch: int):
        self.batch = batch

        @tf.function(jit_compile=True, autograph=False)
        def tokens_of(annotations):
            return decode(captioner, annotations, decoding).tokens

        self._tokens_of = tokens_of

    def captions(self, annotations: np.ndarray) -> list[tuple[int, ...]]:
        """Returns the words of each image."""
        captions = []
        for start in range(0, len(annotations), self.batch):
            tokens = self._tokens_of(annotations[start : start + self.batch])
            for row in tokens.numpy()[:, 0]:
                captions.append(tuple(row[row > END].tolist()))
        return captions


class InPython:
    """Beam search as most write it: Python lists around a compiled step."""

    def __init__(self, captioner, decoding: Decoding, sort):
        self.decoding, self.width = decoding, decoding.beam_width
        self._sort = sort

        compiled = functools.partial(
            tf.function, jit_compile=True, autograph=False
        )

        @compiled
        def step(token, hidden, cell, annotations, keys):
            state = DecodingState(hidden, cell)
            logits, state, attention, gate = captioner.step(
                token, state, annotations, keys
            )
            return tf.nn.log_softmax(logits), *state, attention, gate

        self._begin, self._step = compiled(captioner.begin), step

    def captions(self, annotations: np.ndarray) -> list[tuple[int, ...]]:
        """Returns the words of each image."""
        return [self._caption(one[None]) for one in annotations]

    def _caption(self, annotations):
        width, decoding = self.width, self.decoding
        (hidden, cell), annotations, keys = self._begin(annotations)
        annotations = tf.repeat(annotations, width, axis=0)
        keys = tf.repeat(keys, width, axis=0)
        hidden = np.repeat(hidden.numpy(), width, axis=0)
        cell = np.repeat(cell.numpy(), width, axis=0)
        beam, pool = [((), 0.0)], []
        for t in range(decoding.max_words):
            token = np.full(width, START, np.int32)
            if t:
                token[: len(beam)] = [words[-1] for words, _ in beam]
            log_p, hidden, cell, _, _ = self._step(
                token, hidden, cell, annotations, keys
            )
            log_p = log_p.numpy()
            log_p[:, [PADDING, START, UNKNOWN]] = -np.inf
            if t < decoding.min_words:
                log_p[:, END] = -np.inf
            size = log_p.shape[1]
            before = np.array([total for _, total in beam])
            totals = (before[:, None] + log_p[: len(beam)]).reshape(-1)
            longer, parents = [], []
            for index in self._sort(totals)[:width]:
                parent, word = divmod(index, size)
                words = (*beam[parent][0], word)
                if word == END:
                    pool.append((words, totals[index]))
                else:
                    longer.append((words, totals[index]))
                    parents.append(parent)
            beam = longer
            pool.sort(key=self._rank)
            if not beam or len(pool) >= width:
                break
            if pool and self._beaten(beam[0][1], pool):
                break
            parents += [0] * (width - len(parents))
            hidden, cell = hidden.numpy()[parents], cell.numpy()[parents]
        words, _ = min(pool, key=self._rank) if pool else beam[0]
        return tuple(word for word in words if word != END)

    def _rank(self, hypothesis):
        words, log_p = hypothesis
        return -log_p / len(words) ** self.decoding.length_penalty

    def _beaten(self, best, pool):
        reachable = best / self.decoding.steps**self.decoding.length_penalty
        return reachable <= -self._rank(pool[0])


def numpy_sorts(totals: np.ndarray) -> list[int]:
    """Returns the numbers of all continuations, the likeliest first."""
    return np.argsort(-totals).tolist()


def python_sorts(totals: np.ndarray) -> list[int]:
    """Returns the same, by one list of all continuations."""
    continuations = [[number, -p] for number, p in enumerate(totals.tolist())]
    return [number for number, _ in sorted(continuations, key=lambda c: c[1])]


def main(_) -> None:
    """Checks that all captions are equal, and prints the table."""
    workdir = _WORKDIR.value
    try:
        config = RunConfig.load(workdir)
        captioner, _ = load_captioner(workdir)
        cache = AnnotationCache.open(
            _ANNOTATIONS.value
            or config.encoder.annotations
            or os.path.join(workdir, "annotations")
        )
    except UserError as error:
        raise SystemExit(f"error: {error}") from error
    count = min(_IMAGES.value, len(cache))
    annotations = cache.read(np.arange(count))
    decoding = Decoding(beam_width=_WIDTH.value)
    searches = {
        f"ours, batch of {count}": InGraph(captioner, decoding, count),
        "ours, batch of 1": InGraph(captioner, decoding, 1),
        "Python, NumPy sorts": InPython(captioner, decoding, numpy_sorts),
        "Python sorts": InPython(captioner, decoding, python_sorts),
    }
    first, *others = (s.captions(annotations) for s in searches.values())
    same = [sum(map(tuple.__eq__, first, other)) for other in others]
    print(
        f"{workdir}: V={captioner.vocabulary_size}, beam of "
        f"{decoding.beam_width}, {count} images, {os.cpu_count()} cores; "
        f"equal captions: {', '.join(map(str, same))} of {count}"
    )
    if min(same) < count - 1:  # A tie may fall either way in float32.
        raise SystemExit("error: the searches' captions differ")
    calls = {
        name: functools.partial(search.captions, annotations)
        for name, search in searches.items()
    }
    times = timed_in_turns(calls, _ROUNDS.value)
    slowest = min(times["Python sorts"])[0]
    for name, rounds in times.items():
        seconds = min(rounds)[0]
        print(
            f"{name:22s} {count / seconds:8.1f} captions/s"
            f" {slowest / seconds:7.1f} times"
        )


if __name__ == "__main__":
    app.run(main)
