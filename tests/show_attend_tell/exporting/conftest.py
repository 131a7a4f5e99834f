"""A captioner that was really exported, by the command."""

import dataclasses
import pathlib

import numpy as np
import pytest

from pipelines.encoders import build_encoder
from pipelines.vocabulary import Vocabulary
from show_attend_tell.captioning import ImageCaptioner, Speaker
from show_attend_tell.decoding import Decoding
from show_attend_tell.model import Captioner
from tests.show_attend_tell.conftest import run_command

SETTINGS = {"beam_width": 3, "hypotheses": 2, "max_words": 8}


@pytest.fixture(scope="session")
def exported(trained, tmp_path_factory):
    """The folder of version 1 of a captioner, with two captions an image."""
    output = tmp_path_factory.mktemp("savedmodels") / "scenes"
    flags = [f"--{name}={value}" for name, value in SETTINGS.items()]
    done = run_command(
        "export",
        f"--workdir={trained}",
        f"--output={output}",
        "--batch_sizes=2,1",
        *flags,
    )
    assert done.returncode == 0, done.stderr
    path = pathlib.Path(done.stdout.strip().splitlines()[-1])
    assert path == output / "1"
    return path


@pytest.fixture
def untrained():
    """A captioner of small random weights that says four words at most."""
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary(["a", "café", "犬", "on", "grass", "red"])
    captioner = Captioner(
        len(vocabulary), 8, 8, 8, initial_units=0,
        vocabulary_digest=vocabulary.digest,
    )  # fmt: skip
    captioner.build({"annotations": (1, 196, 128), "tokens": (1, 1, 2)})
    for weight in captioner.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    speaker = Speaker(captioner, vocabulary, (14, 14), "squash")
    decoding = Decoding("greedy", max_words=4)
    return ImageCaptioner(build_encoder("scenes"), speaker, decoding)


@pytest.fixture(scope="session")
def keras_captioner(trained):
    """What was exported, with the settings of the export."""
    captioner = ImageCaptioner.load(str(trained))
    captioner.decoding = dataclasses.replace(captioner.decoding, **SETTINGS)
    return captioner
