"""The boxes of rendered scenes, which their words name by the grammar."""

import functools
from collections.abc import Sequence

from pipelines.boxes.photo_boxes import PhotoBoxes
from pipelines.sources.scenes import scene_of
from pipelines.sources.scenes.grammar import Grounding, check_caption


class SceneBoxes(PhotoBoxes):
    """The boxes of scenes: each noun and adjective is a phrase."""

    def __init__(self):
        super().__init__({}, enumerate)
        self._scene_of = functools.lru_cache(maxsize=64)(scene_of)

    def groundings(self, id: str, words: Sequence[str]) -> list[Grounding]:
        """Returns what the words of a caption truly name in its scene."""
        verdict = check_caption(" ".join(words), self._scene_of(id))
        return [word for word in verdict.groundings if word.boxes]
