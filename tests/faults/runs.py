"""Attacks the files of a training run and of its annotations.

What is loaded is what was written (weights, words, settings, annotations), or
an error names the file. Where the digests were written anew, too, nobody can
tell what was meant: then nothing may break.
"""

import functools
import os
import pathlib

import numpy as np

from tests.faults.campaign import Case, Fault, Limits
from tests.faults.commands import call, check_error, check_lines
from tests.faults.folders import check_equal, damage, link_folder, reseal
from tests.faults.image_files import picture
from tests.show_attend_tell.conftest import TINY

ATTACK = "Files of runs and of caches: damaged, exchanged, resealed"
LIMITS = Limits(seconds=20, mebibytes=1024)

_RUN_FILES = (
    "config.json", "encoder.json", "vocabulary.txt", "best.keras",
    "history.json", "last.keras",
)  # fmt: skip
_CACHE_FILES = (
    "annotations/metadata.json",
    "annotations/annotations-00000-of-00001.array_record",
)
# Of so many cases, one goes all the way; it takes seconds.
_CAPTIONS_EVERY, _COMMAND_EVERY = 40, 25


def prepare(folder: pathlib.Path) -> None:
    """Trains two captioners, for a moment."""
    for name, seed in (("run", 0), ("other", 1)):
        if not (folder / name).exists():
            call("train", f"--workdir={folder / name}", f"--seed={seed}",
                 *TINY)  # fmt: skip


def start(folder: pathlib.Path):
    """Returns the function that tries a case."""
    run = folder / "run"
    sound = functools.cache(lambda what: _READERS[what](run))
    return functools.partial(try_case, folder, sound)


def try_case(folder: pathlib.Path, sound, case: Case) -> bool:
    """Damages a file of a run, and reads what it belongs to."""
    run = case.folder / "run"
    link_folder(folder / "run", run)
    names = [*_RUN_FILES, *_CACHE_FILES]
    names += [n for n in ("SHA256SUMS", "annotations/SHA256SUMS")
              if (run / n).exists()]  # fmt: skip
    name = str(case.rng.choice(names))
    case.attack = f"{name.rpartition('/')[2]}: ..."
    done = damage(run / name, folder / "other" / name, case.rng)
    case.attack = f"{name.rpartition('/')[2]}: {done}"
    resealed = case.rng.random() < 0.2 and "SHA256SUMS" not in name
    if resealed:
        reseal((run / name).parent)
        case.attack = f"resealed {case.attack}"
    what = _what_reads(name, case.number)
    expected = None if resealed else functools.partial(sound, what)
    return read(case, run, what, expected, os.path.basename(name))


def _what_reads(name: str, number: int) -> str:
    """Returns which command, or part of one, reads a file."""
    if name in ("history.json", "last.keras") or (
        number % _COMMAND_EVERY == _COMMAND_EVERY - 1
    ):
        return "report"
    if name.startswith("annotations/"):
        return "annotations"
    return "model" if number % _CAPTIONS_EVERY else "captions"


def read(case, run, what, expected, name) -> bool:
    """Reads a part of a run; what was read must be what is expected."""
    from pipelines.errors import UserError

    try:
        with case.measured():
            content = _READERS[what](run)
    except UserError as error:
        check_error(error, name, "SHA256SUMS")
        return False
    if expected is not None:
        check_equal(content, expected(), what)
    return True


def contents_of_run(run: pathlib.Path) -> dict:
    """Returns all that the captions of a run depend on."""
    from show_attend_tell.inference.loading import load

    captioner = load(str(run))
    generator = captioner.caption_generator
    weights = generator.captioner.get_weights()
    return {
        "weights": np.concatenate([np.ravel(one) for one in weights]),
        "shapes": str([one.shape for one in weights]),
        "model": str(generator.captioner.get_config()),
        "vocabulary": generator.vocabulary.text,
        "settings": str(captioner.decoding),
        "fit": (generator.resize_mode, *generator.grid),
        "encoder": captioner.encoder.digest,
    }


def captions_of(run: pathlib.Path) -> dict:
    """Returns captions by a run."""
    from show_attend_tell.inference.loading import load

    photos = [np.asarray(picture(40, 30, seed)) for seed in (7, 8)]
    captions = load(str(run)).caption(photos)
    return {
        "captions": [caption.text for caption in captions],
        "log-probabilities": [c.log_probability for c in captions],
        "attention": np.concatenate([c.attention for c in captions]),
    }


def contents_of_cache(run: pathlib.Path) -> dict:
    """Returns all that a cache holds."""
    from pipelines.cache.annotation_cache import AnnotationCache

    cache = AnnotationCache.open(run / "annotations")
    return {
        "annotations": cache.read(range(len(cache))),
        "ids": cache.ids,
        "metadata": str(cache.metadata),
    }


def report_of(run: pathlib.Path) -> dict:
    """Returns the scores of a run, for which the same training goes on."""
    from pipelines.errors import UserError

    code, printed, errors = call("train", f"--workdir={run}", *TINY)
    check_lines(errors)
    if code == 1 and errors.strip().startswith("error:"):
        raise UserError(errors.strip().removeprefix("error:"))
    if code:
        raise Fault("exit code", f"{code}: {errors[-300:]}")
    return {
        name: (run / name).read_text(encoding="utf-8")
        for name in ("scores.json", "history.json")
    }


_READERS = {
    "model": contents_of_run,
    "captions": captions_of,
    "annotations": contents_of_cache,
    "report": report_of,
}
