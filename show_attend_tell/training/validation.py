"""The scores of each epoch on the validation images."""

import dataclasses
import os

import numpy as np
from PIL import Image

from pipelines.captions import CaptionedImage
from pipelines.files import read_json, write_atomically, write_json
from pipelines.images.decoding import decode_image
from pipelines.vocabulary import words_of
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.curves import draw_curves
from show_attend_tell.evaluation.split_evaluation import (
    HISTORY_FILE,
    caption_split,
    quick_scores,
)
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.metrics.cider import cider_d
from show_attend_tell.metrics.ngrams import match_words
from show_attend_tell.model import Captioner
from show_attend_tell.training.data import Data
from show_attend_tell.training.summaries import Summaries

_PICTURES = 3  # of each epoch, for TensorBoard


class Validation:
    """The history of a run: what each of its epochs scored.

    Epochs are compared by captions of beam search, as users get them: on
    photos greedy captions stop improving long before. Reranking them would
    tell little of the model.

    Args:
        config: The configuration of the run.
        workdir: Its folder.
        data: Its data.
        captioner: The captioner that is trained.
        epochs_done: Scores of later epochs, of a run that was killed before
            its checkpoint, are dropped.
    """

    def __init__(
        self,
        config: RunConfig,
        workdir: str,
        data: Data,
        captioner: Captioner,
        epochs_done: int,
    ):
        self._config, self._data, self._workdir = config, data, workdir
        self._decoding = dataclasses.replace(
            config.decoding, consensus=0, num_captions=1
        )
        self._generator = CaptionGenerator(
            captioner,
            data.vocabulary,
            data.cache.metadata.grid,
            config.encoder.resize_mode,
        )
        self._self_critical = config.objective.name == "self_critical"
        self.measure = "CIDEr-D" if self._self_critical else "BLEU-4"
        self._path = os.path.join(workdir, HISTORY_FILE)
        history = read_json(self._path) if os.path.exists(self._path) else []
        self._history = [e for e in history if e["epoch"] <= epochs_done]

    @property
    def last_epoch(self) -> int | None:
        """The last epoch that was scored, from 1 on; 0 is a warm start."""
        return self._history[-1]["epoch"] if self._history else None

    def score(self) -> tuple[dict[str, float], list[Caption], bool]:
        """Returns the scores, the captions, and whether none was better."""
        images = self._data.splits["validation"]
        captions = caption_split(
            self._generator, self._data.cache, images, self._decoding
        )
        scenes = self._config.data.dataset == "scenes"
        scores = quick_scores(captions, images, scenes)
        if self._self_critical:
            matches = match_words(
                [caption.words for caption in captions],
                [[words_of(c) for c in image.captions] for image in images],
            )
            scores["CIDEr-D"] = float(cider_d(matches).mean())
        best = max((e[self.measure] for e in self._history), default=-1.0)
        return scores, captions, scores[self.measure] > best

    def append(self, epoch: int, scores: dict[str, float]) -> None:
        """Writes the scores of an epoch into the history, and its curves."""
        self._history.append({"epoch": epoch, **scores})
        write_json(self._path, self._history)
        write_atomically(
            os.path.join(self._workdir, "curves.svg"),
            draw_curves(self._history).encode(),
        )
        when = "" if epoch else "before training, "
        print(f"{when}validation: {_format(scores)}")

    def summarize(
        self, summaries: Summaries, step: int, scores, captions
    ) -> None:
        """Writes the scores, and pictures of attention, for TensorBoard."""
        summaries.scalars(
            {f"validation/{name}": value for name, value in scores.items()},
            step,
        )
        images = self._data.splits["validation"][:_PICTURES]
        for image, caption in zip(images, captions, strict=False):
            if caption.words:
                summaries.picture(image.id, render(image, caption), step)

    def is_over(self) -> bool:
        """Tells whether the scores have not improved for `--patience`."""
        scores = [entry[self.measure] for entry in self._history]
        if not scores:
            return False
        since = len(scores) - 1 - int(np.argmax(scores))
        return since >= self._config.training.patience


def render(image: CaptionedImage, caption: Caption) -> Image.Image:
    """Returns a picture of the caption's attention to an image."""
    return caption.draw(decode_image(image.read(), image.id))


def _format(scores: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {value:.3f}"
        for name, value in scores.items()
        if name[:5] != "BLEU-" or name in ("BLEU-4", "BLEU-4_no_penalty")
    )
