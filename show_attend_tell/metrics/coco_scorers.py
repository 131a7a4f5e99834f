"""ROUGE-L and SPICE by pycocoevalcap.

Of SPICE its Java program is run, but not its wrapper, which leaves Java
running after an error and downloads half a gigabyte unasked.
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


def rouge_l(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Sums:
    """Computes ROUGE-L of tokenized captions; the corpus has the mean.

    An empty caption matches nothing, an empty reference either.
    """
    pycocoevalcap_folder("rouge")
    from pycocoevalcap.rouge.rouge import Rouge

    _, scores = Rouge().compute_score(
        {i: list(texts) for i, texts in enumerate(references)},
        {i: [text] for i, text in enumerate(candidates)},
    )
    return mean_of("ROUGE-L", scores * np.array([*map(bool, candidates)]))


def spice(
    candidates: Sequence[str], references: Sequence[Sequence[str]]
) -> Sums:
    """Computes SPICE of tokenized captions; the corpus has the mean.

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
        {"image_id": i, "test": candidate, "refs": list(texts)}
        for i, (candidate, texts) in enumerate(
            zip(candidates, references, strict=True)
        )
    ]
    with tempfile.TemporaryDirectory() as directory:
        given = os.path.join(directory, "captions.json")
        output = os.path.join(directory, "scores.json")
        with open(given, "w", encoding="utf-8") as file:
            json.dump(entries, file)
        run_java(
            "SPICE",
            ["-jar", SPICE_JAR, given, "-out", output, "-subset", "-silent"],
            memory="8G",
            seconds=900 + 10 * len(entries),
            folder=folder,
        )
        return mean_of("SPICE", _spice_scores(output, len(entries)))


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
