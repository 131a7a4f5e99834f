"""Measures how fast an exported captioner answers, without a server.

    python -m benchmarks.exported --model=savedmodels/scenes/1 PHOTO...

runs `serving_default` and `encode` in TensorFlow's C++ session on batches of
several sizes, and prints the milliseconds of an image, the least of several
rounds: wall time, and the time of all processors, which other work on the
machine affects less.
"""

import itertools
import time

from absl import app, flags

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
                session(name, images=batch)  # The first is slow.
                times = [
                    measured(session, name, batch) for _ in range(_ROUNDS.value)
                ]
                wall, processors = (
                    1000 * min(each) / size for each in zip(*times, strict=True)
                )
                print(f"{name:16} {size:6} {wall:15.1f} {processors:20.1f}")


def measured(session, name, batch):
    """Returns the seconds of a request, by the wall and of all processors."""
    wall, processors = time.perf_counter(), time.process_time()
    assert session(name, images=batch)["valid"].all()
    return time.perf_counter() - wall, time.process_time() - processors


if __name__ == "__main__":
    app.run(main)
