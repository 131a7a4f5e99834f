"""No small file takes much memory or time; photos are read as they were."""

import resource
import subprocess
import sys
import time

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import UserError
from pipelines.images import decoding
from pipelines.images.costs import MAX_SIDE, jpeg_scans
from pipelines.images.decoding import decode_image, fit_image, load_image
from tests.pipelines.images import costly
from tests.pipelines.images.test_decoding import encoded, picture

REFUSED = costly.refused_files()
# The most that is accepted, of what costs most.
COSTLY = {
    "large.webp": lambda: costly.flat_webp(8_000, 5_000),
    "column.png": lambda: costly.flat_png(91, MAX_SIDE),
    "scans.jpg": lambda: costly.rescanned_jpeg(2_000, 1_000, 500),
}
MEASURED = r"""
import re, sys, time
from pipelines.images.decoding import decode_image, fit_image
name = sys.argv[1]
start = time.process_time()
fit_image(decode_image(open(name, "rb").read(), name), 224, "crop")
# Of this program; getrusage counts the one that started it, too.
print(re.search(r"VmHWM:\s+(\d+)", open("/proc/self/status").read())[1])
print(time.process_time() - start)
"""


@pytest.mark.parametrize("name", REFUSED)
def test_small_files_that_cost_much_are_refused(name):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    start = time.process_time()
    with pytest.raises(UserError, match=f"(?s)Expected.*{name}"):
        decode_image(REFUSED[name], name)
    assert time.process_time() - start < 1
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 100_000  # KiB


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("name", COSTLY)
def test_what_is_accepted_takes_a_gigabyte_and_five_seconds(name, tmp_path):
    path = tmp_path / name
    path.write_bytes(COSTLY[name]())
    assert path.stat().st_size < 10**6
    done = subprocess.run(
        [sys.executable, "-c", MEASURED, str(path)],
        check=True,
        capture_output=True,
        text=True,
    )
    peak, seconds = map(float, done.stdout.split())
    assert 1024 * peak < 2**30 and seconds < 5


@pytest.mark.parametrize(("width", "height"), [(1, 999_999), (999_999, 1)])
def test_lines_are_fitted_without_copies_of_rows(width, height):
    line = decode_image(costly.flat_png(width, height, 8, 0))
    assert not fit_image(line, 224, "crop").any()


def test_a_progressive_photo_of_24_megapixels():
    image = Image.new("RGB", (6_000, 4_000), (9, 99, 200))
    data = encoded(image, "JPEG", progressive=True, subsampling=0)
    assert jpeg_scans(data) == (10, True) and len(data) < 10**6
    assert decode_image(data).shape == (4_000, 6_000, 3)


def test_scans_are_those_of_the_photo_itself():
    image = Image.fromarray(picture())
    thumbnail = encoded(image, "JPEG", progressive=True)
    exif = b"Exif\0\0" + thumbnail
    assert jpeg_scans(encoded(image, "JPEG", exif=exif)) == (1, False)
    # A video behind it, as phones write them.
    video = encoded(image, "JPEG") + b"\xff\xda\0\x0c\xff\xd9" * 9
    assert jpeg_scans(video) == (1, False)
    restarts = encoded(image, "JPEG", restart_marker_blocks=1)
    assert jpeg_scans(restarts) == (1, False)
    # One scan of one of three channels.
    data = encoded(image, "JPEG")
    at = data.index(b"\xff\xda") + 4
    assert jpeg_scans(data[:at] + b"\x01" + data[at + 1 :]) == (1, True)


def test_want_of_memory_names_the_image(monkeypatch):
    def without_memory(*_, **__):
        raise MemoryError

    data = encoded(Image.new("RGB", (4, 4)))
    monkeypatch.setattr(decoding, "_upright", without_memory)
    with pytest.raises(UserError, match="memory.*holiday.png"):
        decode_image(data, "holiday.png")
    with pytest.raises(UserError, match="memory.*the image"):
        load_image(np.zeros((4, 4, 3), np.uint8))
