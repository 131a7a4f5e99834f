"""METEOR, ROUGE-L, CIDEr and SPICE, as pycocoevalcap scores them.

ROUGE-L and CIDEr are its Python. Of METEOR and SPICE its Java programs are
run, but not its wrappers: those leave Java running after an error, and
SPICE's downloads half a gigabyte unasked.
"""

import json
import os
import tempfile
from collections.abc import Sequence

import numpy as np

from show_attend_tell.metrics.bootstrap import Sums, mean_of
from show_attend_tell.metrics.external_programs import (
    Unavailable,
    pycocoevalcap_folder,
    run_java,
)

# METEOR 1.5 for English, of the task "rank", which is the program's default:
# recall against precision, shape and weight of the penalty for fragments,
# content against function words, and exact, stem, synonym, paraphrase.
_ALPHA, _BETA, _GAMMA, _DELTA = 0.85, 0.2, 0.6, 0.75
_STAGES = np.array([1.0, 0.6, 0.8, 0.6])
_METEOR_STATISTICS = 23


def meteor(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Sums:
    """Counts what METEOR needs of each image; its sums give the score.

    The program aligns each caption with the reference that suits it best
    and prints 23 counts. From these the score follows as in its own
    `MeteorScorer.computeMetrics`: precision and recall of matches weighed by
    kind, their mean, less a penalty for matches that lie in many pieces.
    The score of a corpus is that of the summed counts.

    Args:
        candidates: One tokenized caption for each image.
        references: The tokenized references of each image.

    Raises:
        Unavailable: The program is not installed or does not run.
    """
    folder = pycocoevalcap_folder("meteor")
    from pycocoevalcap.meteor.meteor import METEOR_JAR

    # The bar is what separates captions in a line.
    lines = [
        " ||| ".join(["SCORE", *(_no_bars(text) for text in (*texts, said))])
        for said, texts in zip(candidates, references, strict=True)
    ]
    output = run_java(
        "METEOR",
        ["-jar", METEOR_JAR, "-", "-", "-stdio", "-l", "en", "-norm"],
        "".join(f"{line}\n" for line in lines),
        seconds=300 + len(lines),
        folder=folder,
    )
    try:
        counts = np.array([line.split() for line in output.splitlines()], float)
    except ValueError as error:
        raise Unavailable(f"METEOR printed no counts: {error}") from error
    if counts.shape != (len(lines), _METEOR_STATISTICS):
        raise Unavailable(
            f"METEOR printed {counts.shape} counts for {len(lines)} captions"
        )
    return Sums(_meteor_sums(counts), _meteor_scores)


def _no_bars(text: str) -> str:
    return text.replace("|||", "")


def _meteor_sums(counts: np.ndarray) -> np.ndarray:
    """Returns what the program adds up over captions, `(images, 6)`."""
    length, function = counts[:, 0:2], counts[:, 2:4]
    # Stage, content and function words; of candidate and reference.
    matches = counts[:, 4:20].reshape(-1, 4, 2, 2)
    kinds = np.array([_DELTA, 1 - _DELTA])
    matched = np.einsum("nskr,s,k->nr", matches, _STAGES, kinds)
    weight = _DELTA * (length - function) + (1 - _DELTA) * function
    chunks, words = counts[:, 20], counts[:, 21:23].mean(axis=1)
    # A caption that matches from end to end is not in pieces.
    whole = (matches.sum(axis=(1, 2)) == length).all(axis=1) & (chunks == 1)
    chunks = np.where(whole, 0, chunks)
    return np.column_stack([matched, weight, chunks, words])


def _meteor_scores(sums: np.ndarray) -> dict[str, np.ndarray]:
    with np.errstate(divide="ignore", invalid="ignore"):
        precision, recall = np.moveaxis(sums[..., 0:2] / sums[..., 2:4], -1, 0)
        mean = 1 / ((1 - _ALPHA) / precision + _ALPHA / recall)
        penalty = _GAMMA * (sums[..., 4] / sums[..., 5]) ** _BETA
        score = mean * (1 - penalty)
    # 0 / 0 where nothing matches.
    return {"METEOR": np.where(np.isnan(score), 0.0, np.maximum(score, 0.0))}


def rouge_l(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Sums:
    """Computes ROUGE-L of each image; the corpus has the mean.

    Args:
        candidates: One tokenized caption for each image.
        references: The tokenized references of each image.

    Raises:
        Unavailable: pycocoevalcap is not installed.
    """
    pycocoevalcap_folder("rouge")
    from pycocoevalcap.rouge.rouge import Rouge

    return mean_of("ROUGE-L", _scored(Rouge(), candidates, references))


def cider(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Sums:
    """Computes CIDEr (its form CIDEr-D) of each image; the corpus has the mean.

    How rare words are is counted over the references given, and stays as it
    is when images are resampled. The highest score is 10, and 1 is what the
    literature prints as 1.0 or 100.

    Args:
        candidates: One tokenized caption for each image.
        references: The tokenized references of each image; not all empty.

    Raises:
        Unavailable: pycocoevalcap is not installed.
    """
    pycocoevalcap_folder("cider")
    from pycocoevalcap.cider.cider import Cider

    return mean_of("CIDEr", _scored(Cider(), candidates, references))


def _scored(scorer, candidates, references) -> np.ndarray:
    """Returns the score of each image by a scorer of pycocoevalcap."""
    _, scores = scorer.compute_score(
        {i: list(texts) for i, texts in enumerate(references)},
        {i: [text] for i, text in enumerate(candidates)},
    )
    return np.asarray(scores, np.float64)


def spice(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Sums:
    """Computes SPICE of each image; the corpus has the mean.

    Args:
        candidates: One tokenized caption for each image.
        references: The tokenized references of each image.

    Raises:
        Unavailable: The program or Stanford's models are not installed, or
            it does not run. Nothing is downloaded.
    """
    folder = pycocoevalcap_folder("spice")
    from pycocoevalcap.spice.get_stanford_models import JAR, SPICELIB
    from pycocoevalcap.spice.spice import SPICE_JAR

    for jar in (f"{JAR}.jar", f"{JAR}-models.jar"):
        if not os.path.exists(os.path.join(folder, SPICELIB, jar)):
            raise Unavailable(
                f"Stanford's models ({jar}) are not installed; fetch them "
                "once (half a gigabyte) by: python -m "
                "pycocoevalcap.spice.get_stanford_models"
            )
    entries = [
        {"image_id": i, "test": said, "refs": list(texts)}
        for i, (said, texts) in enumerate(
            zip(candidates, references, strict=True)
        )
    ]
    with tempfile.TemporaryDirectory() as place:
        given = os.path.join(place, "captions.json")
        found = os.path.join(place, "scores.json")
        with open(given, "w", encoding="utf-8") as file:
            json.dump(entries, file)
        run_java(
            "SPICE",
            ["-jar", SPICE_JAR, given, "-out", found, "-subset", "-silent"],
            memory="8G",
            seconds=900 + 10 * len(entries),
            folder=folder,
        )
        return mean_of("SPICE", _spice_scores(found, len(entries)))


def _spice_scores(path: str, images: int) -> np.ndarray:
    """Reads the scores; one that is undefined (null) counts as zero."""
    try:
        with open(path, encoding="utf-8") as file:
            by_image = {
                entry["image_id"]: float(entry["scores"]["All"]["f"] or 0)
                for entry in json.load(file)
            }
        return np.array([by_image[i] for i in range(images)])
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise Unavailable(f"SPICE wrote no scores: {error!r}") from error
