"""How good a captioner is on a split: captions, scores, files."""

import dataclasses
import os
from collections.abc import Sequence

from pipelines.batches import evaluation_batches
from pipelines.boxes import PhotoBoxes, load_boxes
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.cache.metadata import Metadata
from pipelines.captions import CaptionedImage
from pipelines.errors import UserError
from pipelines.files import read_json, write_json
from pipelines.vocabulary import words_of
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.model_files import (
    METADATA_FILE,
    file_digest,
    load_ensemble,
    member_files,
)
from show_attend_tell.inference.reranking import (
    MAX_PHOTOS,
    ConsensusReranker,
    has_similar_photos,
)
from show_attend_tell.metrics.bleu import bleu, leave_one_out_bleu
from show_attend_tell.metrics.caption_scores import (
    Evaluation,
    evaluate_captions,
)
from show_attend_tell.metrics.grounding import (
    attention_change,
    measure_grounding,
)
from show_attend_tell.metrics.prediction_files import write_predictions
from show_attend_tell.metrics.scene_truth import measure_scene_truth
from show_attend_tell.metrics.score_table import (
    as_json,
    left_out_lines,
    score_table,
)
from show_attend_tell.training.data import (
    load_splits,
    prepare_split,
    with_annotations,
)

SCORES_FILE = "scores.json"
HISTORY_FILE = "history.json"

# Splits that no training looks at, the first of which matters most.
SCORED = ("test", "novel")


@dataclasses.dataclass(frozen=True)
class SplitEvaluation:
    """A split with what was said of it.

    Attributes:
        split: Its name.
        images: Its images, with their references.
        captions: One for each image.
        evaluation: The scores.
        figures: All that `scores.json` holds of the split.
    """

    split: str
    images: tuple[CaptionedImage, ...]
    captions: tuple[Caption, ...]
    evaluation: Evaluation
    figures: dict


def evaluate_run(
    config: RunConfig,
    workdir: str,
    splits: Sequence[str],
    decoding: Decoding,
    boxes: str | None = None,
    ensemble: Sequence[str] = (),
) -> list[SplitEvaluation]:
    """Captions and scores splits with the best model of a run.

    Args:
        config: The settings of the run, or with another data set in place.
        workdir: The folder of the run.
        splits: Names of splits; none takes the test split and, of scenes,
            that of things never seen together, or else the validation split.
        decoding: How captions are said.
        boxes: Folder of what the photos show, see `pipelines.boxes`.
        ensemble: Folders or files of models that join in, see
            `captioning.load_ensemble`. The figures then name all of them.

    Raises:
        UserError: A split has no images, or something that the user gave
            cannot be used.
    """
    captioner, vocabulary = load_ensemble(workdir, ensemble)
    members = {}
    if ensemble:
        members["ensemble"] = [
            {"model": path, "sha256": file_digest(path)}
            for path in member_files(workdir, ensemble)
        ]
    all_images = load_splits(config)
    known = [t for i in all_images.get("train", ()) for t in i.captions]
    trained_on = Metadata.from_dict(
        read_json(os.path.join(workdir, METADATA_FILE))
    )
    caption_generator = CaptionGenerator(
        captioner,
        vocabulary,
        trained_on.grid,
        trained_on.resize_mode,
        lambda: _consensus(
            config, workdir, trained_on, all_images.get("train", ())
        ),
    )
    named = splits or [s for s in SCORED if all_images.get(s)]
    evaluated = []
    for split in named or ["validation"]:
        if not all_images.get(split):
            raise UserError(
                f"Expected --split to be one of {', '.join(all_images)}, "
                f"with images. Received: split={split!r}"
            )
        if split == "train" and decoding.consensus:
            raise UserError(
                "Expected --consensus=0 with --split=train: a photo of "
                "training is most similar to itself. "
                f"Received: --consensus={decoding.consensus}"
            )
        cache = prepare_split(config, workdir, split, all_images[split])
        images = with_annotations(all_images[split], cache)
        metadata = cache.metadata
        shown = boxes and load_boxes(
            boxes, images, metadata.image_size, metadata.resize_mode
        )
        captions = caption_split(caption_generator, cache, images, decoding)
        found = evaluate_split(
            split,
            images,
            captions,
            known,
            config.data.dataset == "scenes",
            shown,
        )
        found.figures.update(members)
        evaluated.append(found)
    return evaluated


def _consensus(
    config: RunConfig,
    workdir: str,
    trained_on: Metadata,
    images: Sequence[CaptionedImage],
) -> ConsensusReranker:
    """Loads the run's photos to choose captions by, or makes them.

    Args:
        config: The settings, maybe with another data set in place.
        workdir: The folder of the run.
        trained_on: What its annotations are.
        images: Those of training, of that data set.

    Raises:
        UserError: They are missing, and the data set is another.
    """
    others = config.data.dataset != RunConfig.load(workdir).data.dataset
    if has_similar_photos(workdir) or others or not images:
        return ConsensusReranker.load(workdir, trained_on)
    images = images[:MAX_PHOTOS]
    cache = prepare_split(config, workdir, "train", images)
    images = with_annotations(images, cache)
    positions = [cache.position(image.id) for image in images]
    print(f"similar photos: {len(images)} of training; {workdir}")
    made = ConsensusReranker.from_batches(
        evaluation_batches(cache, positions).as_numpy_iterator(),
        [image.captions for image in images],
    )
    made.save(workdir, trained_on)
    return made


def caption_split(
    caption_generator: CaptionGenerator,
    cache: AnnotationCache,
    images: Sequence[CaptionedImage],
    decoding: Decoding,
    batch_size: int = 50,
) -> list[Caption]:
    """Captions images from their cached annotations, in order."""
    batches = evaluation_batches(
        cache, [cache.position(image.id) for image in images], batch_size
    )
    return caption_generator.all_captions(batches, len(images), decoding)


def evaluate_split(
    split: str,
    images: Sequence[CaptionedImage],
    captions: Sequence[Caption],
    training_captions: Sequence[str],
    scenes: bool,
    boxes: PhotoBoxes | None = None,
) -> SplitEvaluation:
    """Scores the captions of a split in every way there is.

    Args:
        split: Its name.
        images: Its images, with their references; all of them count.
        captions: One for each image.
        training_captions: What the model learned from, if that is known.
        scenes: Whether the images are drawn scenes, whose captions can be
            checked.
        boxes: Of what the photos show, where that is known.
    """
    evaluation = evaluate_captions(
        [image.id for image in images],
        [caption.text for caption in captions],
        [image.captions for image in images],
        training_captions or None,
    )
    figures = {"split": split, **as_json(evaluation)}
    figures["references"] = sum(len(image.captions) for image in images)
    figures["finished"] = sum(c.finished for c in captions) / len(captions)
    figures["attention_change"] = attention_change(captions)
    one = _one_reference_bleu(images)
    if one is not None:
        figures["one_reference_BLEU-4"] = one
    if scenes:
        figures.update(measure_scene_truth(captions, images))
    if boxes is not None:
        named = [
            boxes.groundings(image.id, caption.words)
            for image, caption in zip(images, captions, strict=True)
        ]
        figures["grounding"] = measure_grounding(captions, named)
    return SplitEvaluation(
        split, tuple(images), tuple(captions), evaluation, figures
    )


def told(found: SplitEvaluation) -> str:
    """Lays all figures of a split out in lines."""
    lines = [
        f"{found.split}: {len(found.images)} images with "
        f"{found.figures['references']} references; tokenizer "
        f"{found.evaluation.tokenizer}",
        score_table(found.evaluation),
    ]
    if "ensemble" in found.figures:
        models = [member["model"] for member in found.figures["ensemble"]]
        lines.insert(1, f"ensemble of {', '.join(models)}")
    for name, value in found.figures.items():
        if isinstance(value, float) and name not in found.evaluation.scores:
            lines.append(f"{name:22s} {value:.3f}")
    grounding = found.figures.get("grounding", found.figures)
    for name, figures in grounding.get("by_word_class", {}).items():
        lines.append(f"{name:10s} {_row(figures)}")
    for name, figures in found.figures.get("by_statement", {}).items():
        lines.append(f"{name:10s} {_row(figures)}")
    lines += [f"note: {line}" for line in left_out_lines(found.evaluation)]
    return "\n".join(lines)


def _row(figures: dict) -> str:
    return ", ".join(
        f"{name} {value:.3f}" if isinstance(value, float) else f"{name} {value}"
        for name, value in figures.items()
    )


def write_evaluation(
    directory: str, splits: Sequence[SplitEvaluation], decoding: Decoding
) -> dict:
    """Writes `scores.json`, and the captions of each split in COCO's form.

    Args:
        directory: The folder.
        splits: One or more; the scores of the first are on top, those of
            others under their names.
        decoding: How the captions were said.

    Returns:
        What `scores.json` holds.
    """
    for found in splits:
        write_predictions(
            os.path.join(directory, f"captions_{found.split}.json"),
            [image.id for image in found.images],
            [caption.text for caption in found.captions],
        )
    first, *others = (found.figures for found in splits)
    content = {
        **first,
        **{figures["split"]: figures for figures in others},
        "decoding": dataclasses.asdict(decoding),
    }
    write_json(os.path.join(directory, SCORES_FILE), content)
    return content


def quick_scores(
    captions: Sequence[Caption],
    images: Sequence[CaptionedImage],
    scenes: bool,
) -> dict[str, float]:
    """Returns what can be told in no time, to compare epochs by.

    Returns:
        `BLEU-1` to `BLEU-4`, and without brevity penalty, words as
        `words_of` splits them; `words`, the mean length; `distinct`, the
        share of captions that differ; and of scenes what `measure_scene_truth`
        gives in plain numbers.
    """
    references = _references(images)
    scores = bleu([caption.words for caption in captions], references)
    words = sum(len(caption.words) for caption in captions)
    scores["words"] = words / len(captions)
    scores["distinct"] = len({c.words for c in captions}) / len(captions)
    if scenes:
        truth = measure_scene_truth(captions, images)
        scores.update({k: v for k, v in truth.items() if k[:3] != "by_"})
    return scores


def _one_reference_bleu(images: Sequence[CaptionedImage]) -> float | None:
    """Returns the BLEU-4 of one reference against the others.

    `None` where no image has two references.
    """
    references = [r for r in _references(images) if len(r) > 1]
    return leave_one_out_bleu(references)["BLEU-4"] if references else None


def _references(images):
    return [[words_of(text) for text in image.captions] for image in images]
