"""What tests share: where real data lies, and quiet TensorFlow."""

import os
import pathlib

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")

import pytest  # noqa: E402

ROOT = pathlib.Path(__file__).resolve().parent.parent


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
