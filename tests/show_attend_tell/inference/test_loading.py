"""What cannot be loaded, or does not go together."""

import pytest

import show_attend_tell
from pipelines.errors import UserError
from tests.examples.native_runtime import MODEL, PHOTO


@pytest.mark.parametrize("path", [str(PHOTO), "/nowhere", "/dev/null"])
def test_no_captioner(path):
    with pytest.raises(UserError, match=r"\.tflite file that export wrote"):
        show_attend_tell.load(path)


@pytest.mark.parametrize(
    "options", [{"encoder_weights": "x.h5"}, {"ensemble": ["runs/other"]}]
)
def test_an_exported_captioner_takes_nothing_more(options):
    with pytest.raises(UserError, match="workdir of a training only"):
        show_attend_tell.load(str(MODEL), **options)
