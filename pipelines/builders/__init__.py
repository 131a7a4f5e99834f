"""Builders of tensorflow-datasets: Flickr8k, Flickr30k and rendered scenes.

Importing this package registers them:

    import pipelines.builders
    import tensorflow_datasets as tfds

    scenes = tfds.load("scenes/small", split="train")

The data sets of Flickr are not downloaded but asked for; put them into
`manual_dir` as the builders' instructions say.
"""

from pipelines.builders.flickr8k import Flickr8k
from pipelines.builders.flickr30k import Flickr30k
from pipelines.builders.scenes import Scenes, ScenesConfig

__all__ = ["Flickr8k", "Flickr30k", "Scenes", "ScenesConfig"]
