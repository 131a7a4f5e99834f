"""Measures how fast an exported captioner answers, without a server.

    python -m benchmarks.exported --model=savedmodels/scenes/1 PHOTO...

runs `serving_default` and `encode` in TensorFlow's C++ session on batches of
several sizes, and prints the milliseconds of an image, the least of several
rounds: wall time, and the time of all processors, which other work on the
machine affects less.
"""

import functools
import itertools

import numpy as np
from absl import app, flags

from benchmarks.timing import timed_in_turns
from show_attend_tell.inference.saved_model_session import SavedModelSession

_MODEL = flags.DEFINE_string(
    "model", None, "Folder of an exported version.", required=True
)
_BATCHES = flags.DEFINE_list("batches", ["1", "8", "32"], "Images a request.")
_ROUNDS = flags.DEFINE_integer("rounds", 5, "Turns of each.", lower_bound=1)


def main(arguments):
    photos = []
    for path in arguments[1:]:
        with open(path, "rb") as file:
            photos.append(file.read())
    if not photos:
        raise app.UsageError("Expected photos.")
    print("signature         batch   wall ms/image   processor ms/image")
    with SavedModelSession(_MODEL.value) as session:
        for name in ("encode", "serving_default"):
            for size in map(int, _BATCHES.value):
                batch = list(itertools.islice(itertools.cycle(photos), size))
                request = functools.partial(answer, session, name, batch)
                times = timed_in_turns({name: request}, _ROUNDS.value)[name]
                wall, processors = 1000 * np.min(times, axis=0) / size
                print(f"{name:16} {size:6} {wall:15.1f} {processors:20.1f}")


def answer(session, name, batch):
    assert session(name, images=batch)["valid"].all()


if __name__ == "__main__":
    app.run(main)
