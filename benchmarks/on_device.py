r"""Measures speed, size and agreement with Keras of captioners for devices.

    python -m benchmarks.on_device --photos=FOLDER \
        --workdirs=RUN,RUN A.tflite B.tflite ...

captions photos with every file, with one and two threads, greedily and by beam
search, and prints a line for each. Files take turns photo by photo, each in a
process, so that other work on the machine affects all alike. Times are the
least and the median of a caption; `ratio` is the least time of `encode`
relative to the first line; `peak MB` the memory of a Python process that
generates one greedy caption. Agreement is with the Keras captioner of
--workdirs that has the same vocabulary and encoder.
"""

import concurrent.futures
import multiprocessing
import os
import statistics
import time

import numpy as np
from absl import app, flags

from pipelines.images.photo_folders import photos_in
from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner
from show_attend_tell.inference.tflite_file import BEAM, ENCODE, GREEDY

_PHOTOS = flags.DEFINE_string("photos", None, "A folder.", required=True)
_COUNT = flags.DEFINE_integer("count", 32, "Photos of it.", lower_bound=1)
_WORKDIRS = flags.DEFINE_list("workdirs", [], "Runs to compare with.")
_WEIGHTS = flags.DEFINE_list("encoder_weights", [], "Of each run, if moved.")

_SIGNATURES = (ENCODE, GREEDY, BEAM)
_THREADS = (1, 2)


def main(arguments):
    files = arguments[1:]
    if not files:
        raise app.UsageError("Expected .tflite files.")
    photos, _ = photos_in(_PHOTOS.value)
    photos = photos[:: max(1, len(photos) // _COUNT.value)][: _COUNT.value]
    workers = [Worker(file, threads) for file in files for threads in _THREADS]
    for worker in workers:
        worker.caption(photos[0])  # Warms up.
        worker.reset()
    for photo in photos:
        for worker in workers:
            worker.caption(photo)
    weights = _WEIGHTS.value or [None] * len(_WORKDIRS.value)
    expected = dict(
        keras_captions(run, weights_of_run, photos)
        for run, weights_of_run in zip(_WORKDIRS.value, weights, strict=True)
    )
    print(f"{len(photos)} photos; ms, least/median")
    print(
        "| file | MB | threads | encode | ratio | greedy | beam | peak MB "
        "| as Keras, greedy | beam |\n|---|---|---|---|---|---|---|---|---|---|"
    )
    first = min(workers[0].times[ENCODE])
    for worker in workers:
        print(worker.line(first, expected))


class Worker:
    """A process that runs one file, with nothing else in memory."""

    def __init__(self, file: str, threads: int):
        self.file, self.threads = file, threads
        self.reset()
        self._process = process()
        self.digest = self._do(_load, file, threads)

    def _do(self, *call):
        return self._process.submit(*call).result()

    def reset(self) -> None:
        """Discards all measurements."""
        self.times = {name: [] for name in _SIGNATURES}
        self.captions = {name: [] for name in (GREEDY, BEAM)}

    def caption(self, photo: str) -> None:
        """Runs every signature once."""
        for name in _SIGNATURES:
            milliseconds, words = self._do(_timed, name, photo)
            self.times[name].append(milliseconds)
            if name != ENCODE:
                self.captions[name].append(words)

    def line(self, first: float, expected: dict) -> str:
        """Returns its line of the table."""
        times = {
            name: f"{min(all):.1f}/{statistics.median(all):.1f}"
            for name, all in self.times.items()
        }
        ratio = min(self.times[ENCODE]) / first
        with process() as fresh:
            peak = fresh.submit(_peak, self.file, self.threads).result()
        cells = [
            os.path.basename(self.file),
            f"{os.path.getsize(self.file) / 1e6:.1f}",
            str(self.threads),
            times[ENCODE],
            f"{ratio:.3f}",
            times[GREEDY],
            times[BEAM],
            f"{peak:.0f}",
            *(self._agreement(name, expected) for name in (GREEDY, BEAM)),
        ]
        return f"| {' | '.join(cells)} |"

    def _agreement(self, method: str, expected: dict) -> str:
        captions = expected.get(self.digest)
        if captions is None:
            return ""
        pairs = zip(captions[method], self.captions[method], strict=True)
        same = [a == b for a, b in pairs]
        return f"{sum(same)}/{len(same)}"


def process():
    context = multiprocessing.get_context("spawn")
    return concurrent.futures.ProcessPoolExecutor(1, context)


def keras_captions(run: str, weights: str | None, photos: list[str]):
    """Returns the digests of a captioner, and its captions."""
    # Imported here, so that the processes start without TensorFlow.
    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

    captioner = WorkdirCaptioner.load(run, weights or None)
    digest = (
        captioner.caption_generator.vocabulary.digest,
        captioner.encoder.digest,
    )
    captions = {
        method: [c.words for c in captioner.caption(photos, method=method)]
        for method in (GREEDY, BEAM)
    }
    return digest, captions


# The functions below run in the process of a worker.
_captioners: list[TFLiteCaptioner] = []  # of the process: one


def _load(file, threads):
    captioner = TFLiteCaptioner(file, threads)
    _captioners.append(captioner)
    settings = captioner.settings
    return settings.vocabulary_digest, settings.encoder_digest


def _timed(signature, photo):
    (captioner,) = _captioners
    image = captioner.prepare(photo)
    before = time.perf_counter()
    outputs = captioner.run(signature, image=image)
    milliseconds = 1000 * (time.perf_counter() - before)
    if signature == ENCODE:
        return milliseconds, None
    words = captioner.vocabulary.decode(outputs["tokens"][0].tolist())
    return milliseconds, tuple(words)


def _peak(file, threads):
    """Returns the peak memory of generating a caption, in MB."""
    captioner = TFLiteCaptioner(file, threads)
    size = captioner.settings.image_size
    captioner.caption(np.zeros((size, size, 3), np.uint8), method=GREEDY)
    # Not `getrusage`, which includes the peak of the parent.
    with open("/proc/self/status", encoding="utf-8") as file:
        (kilobytes,) = [x.split()[1] for x in file if x.startswith("VmHWM")]
    return int(kilobytes) * 1024 / 1e6


if __name__ == "__main__":
    app.run(main)
