"""Measures time and memory at 1, 4 and 16 times as many images.

    python -m benchmarks.scaling [--images=500]

Runs the commands, each in a process, on rendered scenes (no download):
extraction, training (its third epoch, when all is compiled) and captioning of a
folder. "ms an image more" is the time of each image beyond those of the
command's row above, without fixed costs such as imports: where it is the same
in all rows, time is linear in the images.
"""

import csv
import os
import subprocess
import sys
import tempfile
import time

from absl import app, flags

from pipelines.sources import load_source

_IMAGES = flags.DEFINE_integer(
    "images", 500, "How many images 1x is.", lower_bound=8
)
_FACTORS = (1, 4, 16)
_OTHERS = 32  # images to validate and to test on: as few as there may be


def _run(module: str, *arguments: str) -> tuple[float, float]:
    """Runs a command; returns its seconds and the most memory, in MiB."""
    command = [sys.executable, "-m", module, *arguments]
    began = time.perf_counter()
    with tempfile.TemporaryFile() as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        if status:
            log.seek(0)
            raise SystemExit(
                f"error: {' '.join(command)}\n{log.read().decode()[-2000:]}"
            )
    return seconds, usage.ru_maxrss / 2**10


def _render(folder: str, images: int) -> str:
    """Renders scenes to train on, and some others; writes their captions."""
    os.makedirs(folder)
    source = load_source(
        "scenes", None, None, train=images, validation=_OTHERS, test=_OTHERS
    )
    path = f"{folder}.csv"
    with open(path, "w", newline="") as captions:
        rows = csv.writer(captions)
        rows.writerow(("file", "caption", "split"))
        for split in ("train", "validation", "test"):
            for number, image in enumerate(source.split(split)):
                name = f"{split}_{number:06d}.png"
                with open(os.path.join(folder, name), "wb") as file:
                    file.write(image.read())
                rows.writerows((name, text, split) for text in image.captions)
    return path


def _measured(folder: str, images: int):
    """Yields for each command its name, its seconds and its MiB."""
    photos = f"{folder}/photos"
    data = (
        "--dataset=folder",
        f"--data_dir={photos}",
        f"--captions={_render(photos, images)}",
        "--encoder=scenes",
        "--resize_mode=squash",
        f"--annotations={folder}/annotations",
    )
    workdir = f"--workdir={folder}/run"
    yield "extraction", *_run("pipelines.extract_features", *data)
    _, memory = _run(
        "show_attend_tell.train",
        "--recipe=scenes",
        "--epochs=3",
        "--keep_epochs=2",
        "--pictures=0",
        workdir,
        *data,
    )
    second, third = (
        os.path.getmtime(f"{folder}/run/epochs/{epoch:02d}.keras")
        for epoch in (2, 3)
    )
    yield "an epoch", third - second, memory
    output = f"--output={folder}/captions.csv"
    yield "captions", *_run("show_attend_tell.caption", workdir, output, photos)


def main(_) -> None:
    """Prints a table for each command."""
    print(f"load {os.getloadavg()[0]:.1f}")
    print("command        images   seconds  ms an image more      MiB")
    last: dict[str, tuple[int, float]] = {}
    with tempfile.TemporaryDirectory() as base:
        for factor in _FACTORS:
            images = factor * _IMAGES.value
            folder = os.path.join(base, str(images))
            for name, seconds, memory in _measured(folder, images):
                more = ""
                if name in last:
                    before, then = last[name]
                    more = f"{1000 * (seconds - then) / (images - before):.2f}"
                last[name] = images, seconds
                print(
                    f"{name:12s} {images:8d} {seconds:9.1f} {more:>17s} "
                    f"{memory:8.0f}",
                    flush=True,
                )


if __name__ == "__main__":
    app.run(main)
