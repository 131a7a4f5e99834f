"""Measures how an exported captioner performs under load, on this machine.

    python -m benchmarks.serving --model=savedmodels/scenes

starts the tests' double of TensorFlow Serving (tests/show_attend_tell/serving/
double.py: the model in TensorFlow's C++ session, behind Python), without and
with batching, and sends requests of one photo by 1, 8 and 32 clients at a time.
One request in twenty has an image that cannot be decoded. It prints throughput
and latency, how many good requests failed, and how many captions differ from
those of one client without batching; both must be none.

    python -m benchmarks.serving --model=savedmodels/scenes --soak_minutes=10

sends requests with 8 clients for ten minutes instead, and prints the server's
memory.

Client and server share the cores, and the double is not the server: figures
compare settings, and do not measure the server.
"""

import contextlib
import os
import platform
import subprocess
import sys
import threading
import time

import numpy as np
from absl import app, flags

from pipelines.errors import UserError
from show_attend_tell.exporting.example_photos import example_photos
from show_attend_tell.serving.client import PROTOCOLS, ServingClient

_MODEL = flags.DEFINE_string(
    "model", None, "Folder of an exported captioner.", required=True
)
_REQUESTS = flags.DEFINE_integer("requests", 400, "For each line.")
_CLIENTS = flags.DEFINE_list("clients", ["1", "8", "32"], "At a time.")
_PROTOCOL = flags.DEFINE_enum("protocol", "grpc", sorted(PROTOCOLS), "How.")
_SOAK = flags.DEFINE_float("soak_minutes", 0.0, "How long to watch memory.")
_TIMEOUT_MICROS = flags.DEFINE_integer(
    "batch_timeout_micros", 5000, "How long the first of a batch waits."
)

_SIZES = (1, 2, 4, 8, 16, 32)
_PHOTOS = 63  # No multiple of `_EVERY`, so that each is decodable at some turn.
_EVERY = 20  # One request of so many has an undecodable image.
_SOAK_CLIENTS = 8
_SAMPLE_SECONDS = 5
_TOLERANCE = 1e-5  # Of attention.


@contextlib.contextmanager
def serving(batching: bool):
    """Runs the double; yields its process and the target."""
    path = os.path.abspath(_MODEL.value)
    command = [sys.executable, "-m", "tests.show_attend_tell.serving.double"]
    command += [f"--model_name={os.path.basename(path)}"]
    command += [f"--model_base_path={path}"]
    if batching:
        command += ["--enable_batching", f"--max_batch_size={_SIZES[-1]}"]
        command += [f"--batch_timeout_micros={_TIMEOUT_MICROS.value}"]
        command += ["--allowed_batch_sizes", *map(str, _SIZES)]
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    try:
        ports = process.stdout.readline().split()
        if not ports:
            raise SystemExit(f"error: no server of {path} came up")
        port = ports[0 if _PROTOCOL.value == "grpc" else 1]
        yield process, f"localhost:{port}"
    finally:
        process.terminate()
        process.wait()


class Load:
    """Sends requests with the photos in turn, as fast as they are answered.

    Without the `expected` caption of each photo, captions are recorded.
    """

    def __init__(self, target: str, photos, expected=None):
        self._target, self._photos, self._expected = target, photos, expected
        self._lock, self._next = threading.Lock(), 0
        self.seconds, self.failed, self.differing = [], 0, 0
        self.captions = {}

    def run(self, clients: int, requests=None, until=None) -> float:
        """Sends requests; returns the seconds that it took."""
        with contextlib.ExitStack() as stack:
            threads = []
            for _ in range(clients):
                client = stack.enter_context(self._client())
                # Connecting is not counted.
                list(client.stream([self._photos[0]]))
                arguments = client, requests, until
                thread = threading.Thread(target=self._send, args=arguments)
                threads.append(thread)
            start = time.perf_counter()
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            return time.perf_counter() - start

    def _client(self):
        model = os.path.basename(os.path.abspath(_MODEL.value))
        return ServingClient(self._target, _PROTOCOL.value, model, retries=0)

    def _send(self, client, requests, until):
        while True:
            with self._lock:
                number, self._next = self._next, self._next + 1
            if requests is not None and number >= requests:
                return
            if until is not None and time.monotonic() > until:
                return
            bad = number % _EVERY == _EVERY // 2
            index = number % len(self._photos)
            image = self._photos[index]
            image = image[: len(image) // 3] if bad else image
            start = time.perf_counter()
            try:
                (caption,) = client.captions_or_errors([image])
                failed = isinstance(caption, Exception) != bad
            except UserError as error:
                print(error, file=sys.stderr)
                caption, failed = None, True
            seconds = time.perf_counter() - start
            with self._lock:
                self.seconds.append(seconds)
                self.failed += failed
                if caption is not None and self._expected is None:
                    self.captions[index] = caption
                elif caption is not None:
                    self.differing += not same(caption, self._expected[index])


def same(caption, expected) -> bool:
    """Whether two captions are the same, attention up to rounding."""
    return caption.words == expected.words and np.allclose(
        caption.attention, expected.attention, rtol=0, atol=_TOLERANCE
    )


def machine() -> str:
    """Returns a description of the machine and its load."""
    name = platform.processor()
    with contextlib.suppress(OSError), open("/proc/cpuinfo") as file:
        lines = [line for line in file if line.startswith("model name")]
        name = lines[0].partition(":")[2].strip() if lines else name
    load = ", ".join(f"{x:.1f}" for x in os.getloadavg())
    return f"{os.cpu_count()} cores of {name}, load average {load}"


def memory(process) -> float:
    """Returns the MiB that a process has in memory."""
    with open(f"/proc/{process.pid}/statm") as file:
        pages = int(file.read().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 2**20


def measure(photos) -> bool:
    """Prints the table; returns whether no request failed or differed."""
    expected, good = None, True
    print(
        "batching  clients  photos/s   p50 ms   p99 ms  failed  differing"
        "  server MiB"
    )
    for batching in (False, True):
        with serving(batching) as (process, target):
            if expected is None:
                # Twice through: each photo is decodable at one turn or more.
                reference = Load(target, photos)
                reference.run(1, 2 * len(photos) + 1)
                expected = reference.captions
            Load(target, photos).run(32, 64)  # Warms up the larger batches.
            for clients in map(int, _CLIENTS.value):
                load = Load(target, photos, expected)
                seconds = load.run(clients, _REQUESTS.value)
                p50, p99 = np.percentile(load.seconds, (50, 99)) * 1000
                print(
                    f"{'yes' if batching else 'no':8s} {clients:8d}"
                    f" {len(load.seconds) / seconds:9.1f} {p50:8.0f}"
                    f" {p99:8.0f} {load.failed:7d} {load.differing:10d}"
                    f" {memory(process):11.0f}",
                    flush=True,
                )
                good &= not load.failed and not load.differing
    return good


def soak(photos) -> bool:
    """Prints memory over time; returns whether no request failed."""
    seconds = _SOAK.value * 60
    with serving(True) as (process, target):
        Load(target, photos).run(32, 200)
        load = Load(target, photos)
        start = time.monotonic()
        thread = threading.Thread(
            target=load.run, args=(_SOAK_CLIENTS, None, start + seconds)
        )
        thread.start()
        samples = []
        while thread.is_alive():
            samples.append((time.monotonic() - start, memory(process)))
            if len(samples) % (30 // _SAMPLE_SECONDS) == 1:
                at, size = samples[-1]
                print(f"{at:6.0f} s {size:8.0f} MiB", flush=True)
            thread.join(_SAMPLE_SECONDS)
        times, sizes = np.array(samples).T
    half = len(sizes) // 2
    slope = np.polyfit(times[half:], sizes[half:], 1)[0] * 60
    print(
        f"{len(load.seconds)} requests, {load.failed} failed; memory "
        f"{sizes.min():.0f} to {sizes.max():.0f} MiB, in the second half "
        f"{slope:+.2f} MiB a minute"
    )
    return not load.failed


def main(_) -> None:
    """Runs the benchmark that the flags choose."""
    photos = example_photos(_PHOTOS)
    print(f"{_MODEL.value} by {_PROTOCOL.value}; {machine()}")
    good = soak(photos) if _SOAK.value else measure(photos)
    print(f"then: {machine()}")
    if not good:
        raise SystemExit("error: a good request failed, or a caption differs")


if __name__ == "__main__":
    app.run(main)
