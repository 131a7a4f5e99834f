"""Writes a captioner as a version of a model that TensorFlow Serving serves."""

import dataclasses
import os
import shutil
from collections.abc import Sequence

import keras
import tensorflow as tf

from pipelines.checksums import list_files
from pipelines.errors import UserError
from pipelines.files import locked, remove_leftovers, replacing, write_json
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.exporting.archive import write_archive
from show_attend_tell.exporting.example_photos import example_photos
from show_attend_tell.exporting.saved_model_signatures import signatures
from show_attend_tell.exporting.saved_model_validation import check
from show_attend_tell.exporting.warmup import (
    INSTALL,
    replay_warmup,
    write_warmup,
)
from show_attend_tell.inference.saved_model_captioner import (
    SETTINGS_FILE,
    files_of_version,
)
from show_attend_tell.inference.saved_model_session import BEST_CAPTION
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

BATCH_SIZES = (1, 2, 4, 8, 16, 32)
_WARMUP_PHOTOS = 32


def export_saved_model(
    captioner: WorkdirCaptioner,
    output: str,
    decoding: Decoding | None = None,
    version: int | None = None,
    batch_sizes: Sequence[int] = BATCH_SIZES,
) -> str:
    """Writes a complete and checked `output/<version>/`, or nothing.

    It is written under a temporary name, checked (see
    `saved_model_validation`), and renamed. Existing versions stay untouched.

    Args:
        captioner: The captioner.
        output: The folder of the model; its name is the one it is served by.
        decoding: The settings; by default those of the captioner, without
            consensus.
        version: Its number; by default one more than the largest there.
        batch_sizes: One warm-up request is written for each.

    Returns:
        The folder of the version.

    Raises:
        UserError: The folder cannot be made, the version exists, another
            export is writing, the decoding is random, or the export fails
            its checks.
    """
    decoding = decoding or dataclasses.replace(captioner.decoding, consensus=0)
    functions = signatures(captioner, decoding)
    output = os.path.abspath(output)
    created = not os.path.exists(output)
    try:
        os.makedirs(output, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Expected --output to be a folder. Received: {output!r} ({error})"
        ) from error
    busy = (
        f"Another export is writing to {output!r}. Wait until it ends, or "
        "choose another --output."
    )
    with locked(output, busy):
        path = os.path.join(output, str(_version(output, version)))
        remove_leftovers(output)
        try:
            with replacing(path, keep=True) as temporary:
                write_archive(temporary, functions)
                _write_settings(temporary, captioner, decoding)
                check(temporary, captioner, decoding)
                _warm_up(temporary, os.path.basename(output), batch_sizes)
                list_files(temporary, files_of_version(temporary))
            created = False
        except FileExistsError as error:
            raise UserError(
                f"{path!r} came into being during the export, and stays as it "
                "is. Run the same command again."
            ) from error
        finally:
            if created:
                shutil.rmtree(output)
    return path


def versions(output: str) -> list[int]:
    """Returns the numbers of the versions in a folder, the smallest first."""
    return sorted(int(name) for name in os.listdir(output) if name.isdecimal())


def _version(output: str, version: int | None) -> int:
    there = versions(output)
    if version is None:
        return max(there, default=0) + 1
    if version in there:
        raise UserError(
            f"Version {version} is in {output!r} already and stays as it is. "
            f"Give another, such as --version={max(there) + 1}, or none."
        )
    return version


def _write_settings(path: str, captioner: WorkdirCaptioner, decoding) -> None:
    encoder, caption_generator = captioner.encoder, captioner.caption_generator
    settings = {
        "decoding": dataclasses.asdict(decoding),
        "resize_mode": caption_generator.resize_mode,
        "encoder": {
            "name": encoder.name,
            "layer": encoder.layer,
            "digest": encoder.digest,
            "preprocessing": encoder.preprocessing,
            "image_size": encoder.image_size,
        },
        "vocabulary_digest": caption_generator.vocabulary.digest,
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
    }
    write_json(os.path.join(path, SETTINGS_FILE), settings)


def _warm_up(path: str, model: str, batch_sizes: Sequence[int]) -> None:
    if write_warmup(
        path, model, BEST_CAPTION, example_photos(_WARMUP_PHOTOS), batch_sizes
    ):
        replay_warmup(path)
    else:
        print(
            "No warm-up requests were written, so the first answers of a "
            f"server will be slow: tensorflow-serving-api is missing. Get it: "
            f"{INSTALL}"
        )
