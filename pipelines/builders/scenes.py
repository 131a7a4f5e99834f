"""Drawn scenes for tensorflow-datasets."""

import dataclasses

import tensorflow_datasets as tfds

from pipelines.builders.captioned_images import CaptionedImages
from pipelines.sources import load_source


@dataclasses.dataclass
class ScenesConfig(tfds.core.BuilderConfig):
    """How many scenes of each split to draw, and the seed that chooses them.

    Attributes:
        train: Number of scenes for training.
        validation: Number of scenes for validation.
        test: Number of scenes for test.
        novel: Number of scenes with pairs of colour and shape that the other
            splits do not have.
        seed: Chooses the scenes.
    """

    train: int = 6000
    validation: int = 500
    test: int = 1000
    novel: int = 500
    seed: int = 0


class Scenes(CaptionedImages):
    """Scenes of coloured shapes, drawn, with five captions each."""

    BUILDER_CONFIGS = [
        ScenesConfig(name="standard", description="8,000 scenes."),
        ScenesConfig(
            name="small",
            description="80 scenes, to try things with.",
            train=60,
            validation=5,
            test=10,
            novel=5,
        ),
    ]

    def load(self, dl_manager):
        """Returns the scenes that the config counts; needs no download."""
        config = self.builder_config
        return load_source(
            "scenes",
            train=config.train,
            validation=config.validation,
            test=config.test,
            novel=config.novel,
            seed=config.seed,
        )
