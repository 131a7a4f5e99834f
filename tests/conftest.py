"""What tests share: where real data lies, and quiet TensorFlow."""

import io
import os
import pathlib
import signal
from collections.abc import Callable

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest  # noqa: E402
from PIL import Image  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent

# Where tests run in the background they are ignored, and so they would be by
# the commands that tests start.
for number, handler in (
    (signal.SIGINT, signal.default_int_handler),
    (signal.SIGHUP, signal.SIG_DFL),
):
    if signal.getsignal(number) is signal.SIG_IGN:
        signal.signal(number, handler)


def _data(relative: str) -> str:
    base = os.environ.get("SHOW_ATTEND_TELL_DATA") or ROOT.parent / "shared"
    path = pathlib.Path(base) / relative
    if not path.exists():
        pytest.skip(
            f"real data is not here: {relative} (set SHOW_ATTEND_TELL_DATA "
            "to the folder that holds data/flickr8k and weights)"
        )
    return str(path)


@pytest.fixture
def flickr8k_dir() -> str:
    """Folder with the Flickr8k photos, token file and split lists."""
    return _data("data/flickr8k")


@pytest.fixture
def vgg16_weights() -> str:
    """ImageNet weights of VGG16 without its top, in Keras layout."""
    return _data("weights/vgg16_imagenet_notop.weights.h5")


@pytest.fixture
def write_images() -> Callable[..., None]:
    """Writes the same tiny JPEG under each of the names in a folder."""
    file = io.BytesIO()
    Image.new("RGB", (8, 6), (200, 30, 30)).save(file, "JPEG")

    def write(folder: pathlib.Path, *names: str) -> None:
        for name in names:
            path = folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(file.getvalue())

    return write
