"""Prepares images ahead of the network that will see them.

It imports no TensorFlow, so that a process that renders starts quickly.
"""

import collections
import concurrent.futures
import concurrent.futures.process
import functools
import multiprocessing
from collections.abc import Iterator, Sequence

import numpy as np

from pipelines.captions import CaptionedImage
from pipelines.ending import reason_of
from pipelines.images.decoding import decode_image, fit_image, read_image_file
from pipelines.processes import end_with_parent

# From so many images on, rendering them is worth processes.
RENDER_PROCESSES_FROM = 500


def prepare(
    image: CaptionedImage, size: int, resize_mode: str
) -> np.ndarray | str:
    """Returns an image as uint8 (size, size, 3), or why there is none."""
    try:
        if image.load is None and image.path is not None:
            name, data = image.path, read_image_file(image.path)
        else:
            name, data = image.id, image.read()
        return fit_image(decode_image(data, name), size, resize_mode)
    except Exception as error:  # Whatever it is, the others go on.
        # A path may hold bytes that are no Unicode.
        return reason_of(error).encode(errors="replace").decode()


def prepared_ahead(
    images: Sequence[CaptionedImage],
    size: int,
    resize_mode: str,
    workers: int,
    window: int,
) -> Iterator[np.ndarray | str]:
    """Prepares images in the background, in order, at most `window` ahead.

    Files are left to threads, since their decoding releases Python's lock;
    many rendered images are left to processes. If the latter cannot be had (a
    script without `if __name__ == "__main__"`, a worker killed for memory),
    threads go on where they stopped.
    """
    one = functools.partial(prepare, size=size, resize_mode=resize_mode)
    taken = 0
    rendered = sum(image.load is not None for image in images)
    if rendered >= RENDER_PROCESSES_FROM:
        try:
            processes = concurrent.futures.ProcessPoolExecutor(
                workers,
                mp_context=multiprocessing.get_context("spawn"),
                initializer=end_with_parent,
            )
            for square in _ahead(processes, images, one, window):
                yield square
                taken += 1
            return
        except (concurrent.futures.process.BrokenProcessPool, OSError):
            pass
    threads = concurrent.futures.ThreadPoolExecutor(workers)
    yield from _ahead(threads, images[taken:], one, window)


def _ahead(executor, images, prepare_one, window):
    """Yields the images prepared by an executor, at most a window ahead."""
    waiting: collections.deque = collections.deque()
    try:
        for image in images:
            waiting.append(executor.submit(prepare_one, image))
            if len(waiting) >= window:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    finally:
        executor.shutdown(wait=True, cancel_futures=True)
