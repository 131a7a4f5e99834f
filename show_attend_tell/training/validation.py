"""The scores of each epoch on the validation images."""

import os

from PIL import Image

from pipelines.captions import CaptionedImage
from pipelines.checksums import write_json
from pipelines.files import write_atomically
from pipelines.images.decoding import decode_image
from pipelines.words import words_of
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.curves import draw_curves, has_curves
from show_attend_tell.evaluation.history import HISTORY_FILE, read_history
from show_attend_tell.evaluation.split_evaluation import (
    caption_split,
    quick_scores,
)
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.metrics.cider import cider_d, undefined_cider
from show_attend_tell.metrics.ngrams import match_words
from show_attend_tell.model import Captioner
from show_attend_tell.training.data import Data
from show_attend_tell.training.summaries import Summaries

_PICTURES = 3  # of each epoch, for TensorBoard
_UNDEFINED = {
    "BLEU-4": "no caption has 4 words",
    "CIDEr-D": "all validation images have the same words",
}


class Validation:
    """The history of a run: the scores of its epochs.

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
        self._config, self._workdir, self._cache = config, workdir, data.cache
        self._images = data.splits["validation"]
        self._generator = CaptionGenerator(
            captioner,
            data.vocabulary,
            data.cache.metadata.grid,
            config.encoder.resize_mode,
        )
        self._boxes = data.boxes
        self._self_critical = config.objective.name == "self_critical"
        self._measure = "CIDEr-D" if self._self_critical else "BLEU-4"
        if len(self._images) == 1:
            print(
                "note: validation has one image; epochs are compared by its "
                "caption alone"
            )
        self._summaries = Summaries(os.path.join(workdir, "tensorboard"))
        history = read_history(workdir, self._measure)
        self._history = [e for e in history if e["epoch"] <= epochs_done]

    @property
    def last_epoch(self) -> int | None:
        """The last epoch that was scored, from 1 on; 0 is a warm start."""
        return self._history[-1]["epoch"] if self._history else None

    def score(self) -> tuple[dict[str, float | None], list[Caption]]:
        """Returns scores, and the captions that were scored."""
        decoding = self._config.decoding.replace(consensus=0, num_captions=1)
        images = self._images
        captions = caption_split(self._generator, self._cache, images, decoding)
        scenes = self._config.data.dataset == "scenes"
        scores = quick_scores(captions, images, scenes, self._boxes)
        if self._self_critical:
            matches = match_words(
                [caption.words for caption in captions],
                [[words_of(c) for c in image.captions] for image in images],
            )
            cider = float(cider_d(matches).mean())
            scores["CIDEr-D"] = None if undefined_cider(matches) else cider
        return scores, captions

    def is_best(self, scores: dict[str, float | None]) -> bool:
        """Tells whether no epoch has had better scores.

        As long as none is defined, the last epoch is taken for the best.
        """
        earlier = self._defined_scores()
        score = scores[self._measure]
        if score is None:
            return not earlier
        return score > max(earlier.values(), default=-1.0)

    def is_over(self) -> bool:
        """Tells whether the scores have not improved for `--patience`."""
        scores = self._defined_scores()
        if not scores:
            return False
        since = len(self._history) - 1 - max(scores, key=scores.get)
        return since >= self._config.training.patience

    def _defined_scores(self) -> dict[int, float]:
        """Returns the scores that epochs are compared by, by their place."""
        scores = [entry[self._measure] for entry in self._history]
        return {n: score for n, score in enumerate(scores) if score is not None}

    def report(self, epoch: int, step: int, scores, captions) -> None:
        """Writes and prints the scores, also for TensorBoard."""
        self._history.append({"epoch": epoch, **scores})
        if has_curves(self._history):
            write_atomically(
                os.path.join(self._workdir, "curves.svg"),
                draw_curves(self._history).encode(),
            )
        # Last: what it holds is not done again by a run that goes on.
        write_json(self._workdir, HISTORY_FILE, self._history)
        when = "" if epoch else "before training, "
        print(f"{when}validation: {_format(scores)}")
        if scores[self._measure] is None:
            print(
                f"note: {self._measure} is undefined, because "
                f"{_UNDEFINED[self._measure]}; as long as no epoch has it, the "
                "last is taken for the best"
            )
        self.summarize("validation", scores, step)
        for image, caption in zip(
            self._images[:_PICTURES], captions, strict=False
        ):
            if caption.words:
                self._summaries.picture(image.id, render(image, caption), step)

    def summarize(self, group: str, scores, step: int) -> None:
        """Writes numbers for TensorBoard."""
        scalars = {
            f"{group}/{name}": value
            for name, value in scores.items()
            if value is not None
        }
        self._summaries.scalars(scalars, step)


def render(image: CaptionedImage, caption: Caption) -> Image.Image:
    """Returns a picture of the caption's attention to an image."""
    return caption.draw(decode_image(image.read(), image.id))


def _format(scores: dict[str, float | None]) -> str:
    return ", ".join(
        f"{name} undefined" if value is None else f"{name} {value:.3f}"
        for name, value in scores.items()
        if name[:5] != "BLEU-" or name in ("BLEU-4", "BLEU-4_no_penalty")
    )
