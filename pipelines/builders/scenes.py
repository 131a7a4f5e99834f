"""Rendered scenes for tensorflow-datasets."""

import dataclasses

import tensorflow_datasets as tfds

from pipelines.builders.captioned_images import CaptionedImages
from pipelines.sources import load_source


@dataclasses.dataclass
class ScenesConfig(tfds.core.BuilderConfig):
    """How many scenes each split has, and the seed that chooses them.

    `novel` has pairs of colour and shape that the other splits do not have.
    """

    train: int = 6000
    validation: int = 500
    test: int = 1000
    novel: int = 500
    seed: int = 0


class Scenes(CaptionedImages):
    """Scenes of coloured shapes, rendered, with five captions each."""

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
        names = ("train", "validation", "test", "novel", "seed")
        config = self.builder_config
        counts = {name: getattr(config, name) for name in names}
        return load_source("scenes", **counts)
