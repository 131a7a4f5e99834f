"""Captions and scores the splits of a run."""

import dataclasses
from collections.abc import Mapping, Sequence

from pipelines.batches import evaluation_batches
from pipelines.boxes import PhotoBoxes, load_boxes
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.cache.metadata import Metadata
from pipelines.captions import CaptionedImage
from pipelines.checksums import file_digest
from pipelines.errors import UserError
from pipelines.words import words_of
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.attention_measures import (
    evaluate_attention,
    evaluate_sums,
    measure_named_words,
    measure_references,
)
from show_attend_tell.evaluation.split_data import (
    load_splits,
    prepare_split,
    with_annotations,
)
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.model_files import (
    load_ensemble,
    load_metadata,
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
    FIGURES,
    MeasuredWords,
    attention_change,
)
from show_attend_tell.metrics.scene_truth import measure_scene_truth
from show_attend_tell.metrics.score_table import (
    as_json,
    left_out_lines,
    score_table,
)

# Shares and means over nothing.
UNDEFINED = "undefined, because no caption has what it counts"

# Splits that are not used in training, scored by default.
_HELD_OUT = ("test", "novel")
_BATCH_SIZE = 50


@dataclasses.dataclass(frozen=True)
class SplitEvaluation:
    """A split with its captions, one for each image, and their scores."""

    split: str
    images: tuple[CaptionedImage, ...]
    captions: tuple[Caption, ...]
    scores: Evaluation  # against the references, with intervals
    figures: dict  # of `scores.json` for the split; None what is undefined
    boxes: PhotoBoxes | None = None  # of what words name, if they are known
    attention: Evaluation | None = None  # its scores against the boxes
    reference_attention: Evaluation | None = None  # those of references

    def with_references(self, phrases: MeasuredWords) -> "SplitEvaluation":
        """Returns the same with the attention of reference captions."""
        ids = [image.id for image in self.images]
        measured = evaluate_sums(ids, [phrases.sums])
        self.figures["grounding"]["references"] = {
            **phrases.figures,
            "intervals": measured.intervals,
        }
        return dataclasses.replace(self, reference_attention=measured)


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
        config: The configuration of the run, or with another data set.
        workdir: The folder of the run.
        splits: If empty, those of `"test"` and `"novel"` that have images, or
            else `"validation"`.
        decoding: How captions are generated.
        boxes: Folder of annotated boxes, see `pipelines.boxes`.
        ensemble: Folders or files of models, see `model_files.load_ensemble`.

    Raises:
        UserError: A split has no images, or a setting cannot be used.
    """
    captioner, vocabulary = load_ensemble(workdir, ensemble)
    images = load_splits(config)
    training_images = images.get("train", ())
    trained_on = load_metadata(workdir)
    caption_generator = CaptionGenerator(
        captioner,
        vocabulary,
        trained_on.grid,
        trained_on.resize_mode,
        lambda: _reranker(config, workdir, trained_on, training_images),
    )
    training_captions = [t for i in training_images for t in i.captions]
    scenes = config.data.dataset == "scenes"
    evaluations = []
    for split in splits or default_splits(images):
        check_split(split, images)
        _check_consensus(split, decoding)
        cache = prepare_split(config, workdir, split, images[split])
        cached = with_annotations(images[split], cache)
        photo_boxes = boxes and load_boxes(
            boxes, cached, cache.metadata.image_size, cache.metadata.resize_mode
        )
        captions = caption_split(caption_generator, cache, cached, decoding)
        evaluation = evaluate_split(
            split, cached, captions, training_captions, scenes, photo_boxes
        )
        if photo_boxes:
            evaluation = evaluation.with_references(
                measure_references(
                    captioner,
                    vocabulary,
                    cache,
                    cached,
                    photo_boxes,
                    caption_generator.grid,
                )
            )
        evaluations.append(evaluation)
    if ensemble:
        paths = member_files(workdir, ensemble)
        members = [{"model": p, "sha256": file_digest(p)} for p in paths]
        for evaluation in evaluations:
            evaluation.figures["ensemble"] = members
    return evaluations


def check_split(split: str, images: Mapping) -> None:
    """Raises UserError unless there are images of a split."""
    if not images.get(split):
        raise UserError(
            f"Expected --split to be one of {', '.join(images)}, "
            f"with images. Received: split={split!r}"
        )


def default_splits(images: Mapping) -> list[str]:
    """Returns the splits to score where none is asked for."""
    held_out = [split for split in _HELD_OUT if images.get(split)]
    return held_out or ["validation"]


def _check_consensus(split: str, decoding: Decoding) -> None:
    if split == "train" and decoding.consensus:
        raise UserError(
            "Expected --consensus=0 with --split=train: a photo of "
            "training is most similar to itself. "
            f"Received: --consensus={decoding.consensus}"
        )


def _reranker(
    config: RunConfig,
    workdir: str,
    trained_on: Metadata,
    images: Sequence[CaptionedImage],
) -> ConsensusReranker:
    """Loads the similar photos of a run, or makes them of training images."""
    other = config.data.dataset != RunConfig.load(workdir).data.dataset
    if has_similar_photos(workdir) or other or not images:
        return ConsensusReranker.load(workdir, trained_on)
    images = images[:MAX_PHOTOS]
    cache = prepare_split(config, workdir, "train", images)
    images = with_annotations(images, cache)
    print(f"similar photos: {len(images)} of training; {workdir}")
    reranker = ConsensusReranker.from_batches(
        _batches(cache, images, 64).as_numpy_iterator(),
        [image.captions for image in images],
    )
    reranker.save(workdir, trained_on)
    return reranker


def caption_split(
    caption_generator: CaptionGenerator,
    cache: AnnotationCache,
    images: Sequence[CaptionedImage],
    decoding: Decoding,
) -> list[Caption]:
    """Captions images from their cached annotations, in order."""
    batches = _batches(cache, images, _BATCH_SIZE)
    return caption_generator.all_captions(batches, len(images), decoding)


def _batches(cache, images: Sequence[CaptionedImage], batch_size: int):
    positions = [cache.position(image.id) for image in images]
    return evaluation_batches(cache, positions, batch_size)


def evaluate_split(
    split: str,
    images: Sequence[CaptionedImage],
    captions: Sequence[Caption],
    training_captions: Sequence[str],
    scenes: bool,
    boxes: PhotoBoxes | None = None,
) -> SplitEvaluation:
    """Scores the captions of a split by all metrics that apply.

    The metrics of `scenes` check captions against the rendered scene, those of
    `boxes` attention against annotated boxes.
    """
    texts = [caption.text for caption in captions]
    scores = evaluate_captions(
        [image.id for image in images],
        texts,
        [image.captions for image in images],
        training_captions or None,
    )
    figures = {"split": split, **as_json(scores)}
    figures["references"] = sum(len(image.captions) for image in images)
    figures["finished"] = sum(c.finished for c in captions) / len(captions)
    attentions = [caption.attention for caption in captions]
    figures["attention_change"] = attention_change(attentions)
    references = [r for r in _references(images) if len(r) > 1]
    if references:
        one_reference = leave_one_out_bleu(references)["BLEU-4"]
        figures["one_reference_BLEU-4"] = one_reference
    if scenes:
        figures.update(measure_scene_truth(texts, attentions, images))
    attention = None
    if boxes is not None:
        attention, measured = evaluate_attention(captions, images, boxes)
        figures["grounding"] = measured
    return SplitEvaluation(
        split, tuple(images), tuple(captions), scores, figures, boxes, attention
    )


def format_evaluation(evaluation: SplitEvaluation) -> str:
    """Formats all figures of a split as lines of text."""
    figures, scores = evaluation.figures, evaluation.scores
    lines = [
        f"{evaluation.split}: {len(evaluation.images)} images with "
        f"{figures['references']} references; tokenizer {scores.tokenizer}"
    ]
    if "ensemble" in figures:
        models = [member["model"] for member in figures["ensemble"]]
        lines.append(f"ensemble of {', '.join(models)}")
    lines.append(score_table(scores))
    for name, value in figures.items():
        if name in scores.scores:
            continue
        if isinstance(value, float):
            lines.append(f"{name:22s} {value:.3f}")
        elif value is None:
            lines.append(f"{name:22s} {UNDEFINED}")
    grounding = figures.get("grounding", figures)
    if grounding.get("count") == 0:
        lines.append(f"{'grounding':22s} {UNDEFINED}")
    if "grounding" in figures:
        lines += _grounding_lines(grounding, "generated words")
        if "references" in grounding:
            lines += _grounding_lines(
                grounding["references"], "phrases of references"
            )
    rows = [
        *grounding.get("by_word_class", {}).items(),
        *figures.get("by_statement", {}).items(),
    ]
    for name, row in rows:
        cells = [
            f"{k} {v:.3f}" if isinstance(v, float) else f"{k} {v}"
            for k, v in row.items()
            if v is not None
        ]
        lines.append(f"{name:10s} {', '.join(cells)}")
    lines += [f"note: {line}" for line in left_out_lines(scores)]
    return "\n".join(lines)


# Figures against boxes: name, label, and what they are to be seen beside.
_BOX_FIGURES = (
    ("pointing_accuracy", "peak in the box", "pointing_chance", "pointing"),
    ("attention_mass", "attention in the box", "attention_mass_chance", None),
    ("box_accuracy", "boxes right", "box_accuracy_entire_image", None),
    ("F1_all", "F1_all", "F1_all_entire_image", None),
    ("F1_loc", "F1_loc", "F1_loc_entire_image", None),
)


def _grounding_lines(grounding: dict, what: str) -> list[str]:
    """Formats figures against boxes, each beside chance and the mean map."""
    lines = [f"{what} with boxes: {grounding['count']}"]
    intervals = grounding["intervals"]
    for name, label, baseline, measure in _BOX_FIGURES:
        if (value := grounding.get(name)) is None:
            continue
        low, high = intervals.get(name, (value, value))
        other = baseline.removeprefix(f"{measure or name}_").replace("_", " ")
        lines.append(
            f"{label:22s} {value:.3f} ({low:.3f} to {high:.3f}); {other} "
            f"{grounding[baseline]:.3f}, one map for all words "
            f"{grounding[f'{measure or name}_mean_map']:.3f}"
        )
    return lines


def quick_scores(
    captions: Sequence[Caption],
    images: Sequence[CaptionedImage],
    scenes: bool,
    boxes: PhotoBoxes | None = None,
) -> dict[str, float | None]:
    """Returns scores that take no time, to compare epochs by.

    These are BLEU of words as `words_of` splits them; `"words"`, the mean
    length; `"distinct"`, the share of captions that differ and are not empty;
    of scenes the numbers of `measure_scene_truth`, and of photos with boxes
    `grounding.FIGURES`. None is undefined.
    """
    references = _references(images)
    scores = bleu([caption.words for caption in captions], references)
    words = sum(len(caption.words) for caption in captions)
    scores["words"] = words / len(captions)
    scores["distinct"] = len({c.words for c in captions} - {()}) / len(captions)
    if scenes:
        truth = measure_scene_truth(
            [caption.text for caption in captions],
            [caption.attention for caption in captions],
            images,
        )
        scores.update({k: v for k, v in truth.items() if k[:3] != "by_"})
    elif boxes is not None:
        grounding = measure_named_words(captions, images, boxes).figures
        scores.update({name: grounding[name] for name in FIGURES})
    return scores


def _references(images: Sequence[CaptionedImage]) -> list[list]:
    return [[words_of(text) for text in image.captions] for image in images]
