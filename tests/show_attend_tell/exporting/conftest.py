"""An untrained captioner to export."""

import numpy as np
import pytest

from pipelines.encoders.registry import build_encoder
from pipelines.vocabulary import Vocabulary
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.model import ModelConfig
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from show_attend_tell.model import Captioner


@pytest.fixture
def untrained():
    """A captioner of small random weights, of four words at most."""
    rng = np.random.default_rng(0)
    vocabulary = Vocabulary(["a", "café", "犬", "on", "grass", "red"])
    captioner = Captioner(
        ModelConfig(8, 8, 8, initial_units=0),
        len(vocabulary),
        vocabulary.digest,
    )
    captioner.build({"annotations": (1, 196, 128), "tokens": (1, 1, 2)})
    for weight in captioner.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    caption_generator = CaptionGenerator(
        captioner, vocabulary, (14, 14), "squash"
    )
    decoding = Decoding("greedy", max_words=4)
    return WorkdirCaptioner(
        build_encoder("scenes"), caption_generator, decoding
    )
