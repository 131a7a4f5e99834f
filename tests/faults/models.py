"""Attacks exported models: files for devices, and folders for servers.

A model that was changed is refused, by an error that names it; or it captions
as before. Who writes a digest anew may change captions, and harms nothing.
"""

import functools
import pathlib

import numpy as np

from tests.faults import crafted_models
from tests.faults.campaign import Fault, Limits
from tests.faults.commands import check_error
from tests.faults.folders import (
    check_equal,
    damage,
    link_folder,
    reseal,
    write_anew,
)
from tests.faults.image_files import picture
from tests.faults.mutations import mutate
from tests.faults.small_models import write_saved_model, write_tflite

ATTACK = "Exported models: damaged, exchanged, made to explode or to write"
LIMITS = Limits(seconds=20, mebibytes=1024)

_FILES = (
    "saved_model.pb", "fingerprint.pb", "variables/variables.index",
    "variables/variables.data-00000-of-00001", "assets.extra/captioner.json",
    "SHA256SUMS",
)  # fmt: skip
# Of so many cases, one is crafted.
_CRAFTED_EVERY = 8


def prepare(folder: pathlib.Path) -> None:
    """Exports captioners of both kinds, two of each."""
    write_tflite(folder / "small.tflite")
    write_tflite(folder / "other.tflite", resize_mode="crop")
    write_saved_model(folder / "small")
    write_saved_model(folder / "other", resize_mode="crop")


def start(folder: pathlib.Path):
    """Returns the function that tries a case."""
    tflite = (folder / "small.tflite").read_bytes()
    other = (folder / "other.tflite").read_bytes()
    saved = folder / "small" / "1"
    try_tflite = functools.partial(
        _try_tflite,
        tflite,
        other,
        crafted_models.crafted_tflite(tflite),
        captions_of(folder / "small.tflite"),
    )
    try_saved = functools.partial(
        _try_saved_model, saved, folder / "other" / "1", captions_of(saved)
    )
    return lambda case: (try_saved if case.number % 3 == 2 else try_tflite)(
        case
    )


def captions_of(path: pathlib.Path) -> dict:
    """Returns captions by a model, whatever its kind."""
    from show_attend_tell.inference.loading import load

    photos = [np.asarray(picture(40, 30, seed)) for seed in (7, 8)]
    captions = [load(str(path)).caption(photo) for photo in photos]
    return {
        "captions": [caption.text for caption in captions],
        "log-probabilities": [c.log_probability for c in captions],
        "attention": np.concatenate([c.attention for c in captions]),
    }


def _caption(case, path, expected, *names) -> bool:
    from pipelines.errors import UserError

    try:
        with case.measured():
            captions = captions_of(path)
    except UserError as error:
        check_error(error, *names)
        return False
    if expected is not None:
        check_equal(captions, expected, "captions")
    return True


def _try_tflite(data, other, crafted, expected, case) -> bool:
    """Tries a file for devices."""
    path = case.folder / "attacked.tflite"
    rng = case.rng
    if case.number % _CRAFTED_EVERY == 0:
        number = case.number // _CRAFTED_EVERY % len(crafted)
        case.attack = list(crafted)[number]
        path.write_bytes(crafted[case.attack])
    elif rng.random() < 0.25:
        model, parts = crafted_models.parts_of(data)
        name = str(rng.choice(list(parts)))
        if name.endswith(".json") and rng.random() < 0.7:
            case.attack = "resealed: settings that no export writes"
            parts[name] = crafted_models.strange_settings(parts[name], rng)
        else:
            case.attack, parts[name] = mutate(parts[name], rng)
            case.attack = f"resealed: {name}, {case.attack}"
        crafted_models.resealed(path, model, parts)
        expected = None
    else:
        path.write_bytes(data)
        where = int(rng.integers(2))  # Anywhere, or in the tail.
        start = crafted_models.tail_of(data) if where else 0
        name, mutated = mutate(data[start:], rng, [other])
        case.attack = f"{('model', 'tail')[where]}: {name}"
        path.write_bytes(data[:start] + mutated)
    return _caption(case, path, expected, path.name)


def _try_saved_model(source, other, expected, case) -> bool:
    """Tries a folder for servers."""
    folder = case.folder / "attacked"
    link_folder(source, folder)
    if case.number % _CRAFTED_EVERY == 0:
        return _try_crafted(folder, case)
    names = [name for name in _FILES if (folder / name).exists()]
    name = str(case.rng.choice(names))
    case.attack = f"{name.rpartition('/')[2]}: ..."
    done = damage(folder / name, other / name, case.rng)
    case.attack = f"{name.rpartition('/')[2]}: {done}"
    if case.rng.random() < 0.1 and name.endswith((".json", ".pb")):
        reseal(folder)
        case.attack = f"resealed {case.attack}"
        expected = None
    return _caption(case, folder, expected, str(folder), name)


def _try_crafted(folder, case) -> bool:
    """Tries a folder that is made to do harm, with its right digests."""
    target = case.folder / "written"
    settings = folder / "assets.extra" / "captioner.json"
    attacks = {
        "writes at load": lambda: crafted_models.write_at_load(folder, target),
        "saves at load": lambda: crafted_models.save_at_load(folder, target),
        "reads at load": lambda: crafted_models.read_at_load(folder),
        "graph of 3 GB": lambda: crafted_models.sparse(
            folder / "saved_model.pb"
        ),
        "weights of 3 GB": lambda: crafted_models.sparse(
            next((folder / "variables").glob("*.data*"))
        ),
        "settings of 3 GB": lambda: crafted_models.sparse(settings),
        "settings too deep": lambda: crafted_models.deep_settings(settings),
        "graph of strange fields": lambda: crafted_models.long_proto(
            folder / "saved_model.pb"
        ),
        "settings that no export writes": lambda: write_anew(
            settings,
            crafted_models.strange_settings(settings.read_bytes(), case.rng),
        ),
    }
    number = case.number // _CRAFTED_EVERY // 3 % len(attacks)
    case.attack = list(attacks)[number]
    attacks[case.attack]()
    reseal(folder)
    taken = _caption(case, folder, None, str(folder))
    if any(case.folder.glob("written*")):
        raise Fault("harm", "the model wrote a file when it was loaded")
    return taken
