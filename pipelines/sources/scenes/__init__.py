"""The embedded data set: rendered scenes with five captions each.

Two to four things lie on a muted background. Captions describe the scene as
people do: two things that look the same come together and first, then large
things, then those near the middle. Every caption names the first two; wording
differs from caption to caption. Some pairs of colour and shape are only in the
split `"novel"`.
"""

import functools
import re

from pipelines.captions import CaptionedImage, Source
from pipelines.errors import UserError
from pipelines.sources.scenes.layout import SPLITS, make_scene, scene_rng
from pipelines.sources.scenes.rendering import encode_scene
from pipelines.sources.scenes.scene import Scene
from pipelines.sources.scenes.writer import write_captions

_MAX_COUNT = 1_000_000  # Ids have seven digits at most.


def load_scenes(
    train: int = 6000,
    validation: int = 500,
    test: int = 1000,
    novel: int = 500,
    seed: int = 0,
) -> Source:
    """Returns so many scenes of each split, rendered when an image is read.

    Ids are like `"scenes-0-test-000123"`. The scenes of `novel` have pairs of
    colour and shape that no other split has. A scene follows from the seed, its
    split and its index alone.
    """
    counts = dict(zip(SPLITS, (train, validation, test, novel), strict=True))
    for name, count in {**counts, "seed": seed}.items():
        if not 0 <= count <= _MAX_COUNT:
            raise UserError(
                f"Numbers of scenes and their seed must be from 0 to "
                f"{_MAX_COUNT}. Received: {name}={count}"
            )
    images = tuple(
        _captioned_image(split, index, seed)
        for split, count in counts.items()
        for index in range(count)
    )
    return Source("scenes", images)


def _captioned_image(split, index, seed):
    name = f"scenes-{seed}-{split}-{index:06d}"
    rng = scene_rng(split, index, seed, "captions")
    captions = write_captions(make_scene(split, index, seed), rng)
    load = functools.partial(encode_scene_of, name)
    return CaptionedImage(name, split, captions, load=load)


def encode_scene_of(name: str) -> bytes:
    """Returns the PNG file of the scene with this id."""
    return encode_scene(scene_of(name))


def scene_of(name: str) -> Scene:
    """Returns the scene with an id such as `"scenes-0-test-000123"`."""
    match = re.fullmatch(r"scenes-(\d{1,7})-([a-z]+)-(\d{6,7})", name)
    if match is None or match[2] not in SPLITS:
        raise UserError(
            "Expected the id of a scene, such as 'scenes-0-test-000123'. "
            f"Received: name={name!r}"
        )
    return make_scene(match[2], int(match[3]), int(match[1]))
