"""Writes a captioner as one TFLite file for devices."""

import dataclasses
import os
import pathlib
import tempfile
from collections.abc import Sequence

import keras
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.files import replacing
from pipelines.images.decoding import Photo
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.exporting.archive import write_archive
from show_attend_tell.exporting.example_photos import example_photos
from show_attend_tell.exporting.float32 import in_float32
from show_attend_tell.exporting.int8_encoder import with_int8_encoder
from show_attend_tell.exporting.tflite_signatures import tflite_signatures
from show_attend_tell.exporting.tflite_validation import (
    Agreement,
    check,
    squares_of,
)
from show_attend_tell.inference.saved_model_session import quiet
from show_attend_tell.inference.tflite_file import (
    DECODING_FIELDS,
    ENDING,
    TFLiteSettings,
    append_tail,
)
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

_SCENES, _MOST_PHOTOS = 16, 64  # Images to check with.
_MOST_CHARACTERS = 500  # Of the converter's message, which can be pages.


def export_tflite(
    captioner: WorkdirCaptioner,
    output: str,
    decoding: Decoding | None = None,
    precision: str = "float32",
    photos: Sequence[str] = (),
) -> tuple[str, dict[str, Agreement]]:
    """Writes a complete and checked file, or none.

    It is written under a temporary name, checked (see `tflite_validation`),
    and linked to its name. An existing file is never touched.

    Args:
        captioner: The captioner.
        output: The file, which ends in `.tflite` and does not exist.
        decoding: The settings; by default those of the captioner, without
            consensus.
        precision: Of the weights: `"float32"`; `"float16"`, computed with in
            float32; `"dynamic"`, 8 bits, activations quantised as they come;
            `"int8"`, the encoder in integers, the rest dynamic.
        photos: Files to check with, besides rendered scenes. For `"int8"`,
            two or more photos such as the captioner will see: every second
            one calibrates the ranges, the others check.

    Returns:
        The file, and how its captions agree with Keras's, on scenes and on
        the photos.

    Raises:
        UserError: The file exists or cannot be written, or the captioner
            cannot run on devices.
    """
    decoding = decoding or dataclasses.replace(captioner.decoding, consensus=0)
    captioner = in_float32(captioner)
    functions = tflite_signatures(captioner, decoding)
    output = os.path.abspath(output)
    _check_output(output)
    groups, calibration = _split_photos(photos, precision)
    try:
        with replacing(output, keep=True) as temporary:
            model = _convert(functions, precision)
            if precision == "int8":
                squares = squares_of(captioner, calibration)
                model = with_int8_encoder(model, squares)
            pathlib.Path(temporary).write_bytes(model)
            append_tail(
                temporary,
                _settings(captioner, decoding, precision, output),
                captioner.caption_generator.vocabulary,
            )
            agreements = check(
                temporary, captioner, decoding, precision, groups
            )
    except FileExistsError as error:
        raise _exists(output) from error
    return output, agreements


def _check_output(output: str) -> None:
    if not output.endswith(ENDING):
        raise UserError(
            f"Expected --output to end in {ENDING}. Received: {output!r}"
        )
    if os.path.lexists(output):
        raise _exists(output)
    try:
        os.makedirs(os.path.dirname(output), exist_ok=True)
    except OSError as error:
        raise UserError(
            f"Expected --output to be a file in a folder. Received: "
            f"{output!r} ({error})"
        ) from error


def _exists(output: str) -> UserError:
    return UserError(
        f"{output!r} is there already and stays as it is. Choose another "
        "--output."
    )


def _split_photos(
    photos: Sequence[str], precision: str
) -> tuple[dict[str, Sequence[Photo]], list[str]]:
    """Returns groups of photos to check with, and photos to calibrate by."""
    calibration: Sequence[str] = ()
    if precision == "int8":
        if len(photos) < 2:
            raise UserError(
                "Expected --photos=FOLDER with photos such as the captioner "
                "will see, for --precision=int8: their ranges become those of "
                f"its integers. Received: {len(photos)}"
            )
        photos, calibration = photos[::2], photos[1::2]
    groups: dict[str, Sequence[Photo]] = {"scenes": example_photos(_SCENES)}
    if photos:
        groups["photos"] = _spread(photos)
    return groups, _spread(calibration)


def _spread(photos: Sequence[str]) -> list[str]:
    """Returns some of many, evenly."""
    return list(photos[:: -(-len(photos) // _MOST_PHOTOS) or 1])


def _convert(functions: dict, precision: str) -> bytes:
    """Converts to TFLite's builtin operations; weights are shared."""
    # Through a SavedModel, whose signatures share their weights.
    with quiet(), tempfile.TemporaryDirectory() as folder:
        write_archive(folder, functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(
            folder, signature_keys=list(functions)
        )
        # The default; given explicitly, any other operation is an error.
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
        if precision in ("float16", "dynamic"):
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if precision == "float16":
            converter.target_spec.supported_types = [tf.float16]
        try:
            return converter.convert()
        except Exception as error:  # The converter raises many kinds.
            reason = str(error).strip()[:_MOST_CHARACTERS]
            raise UserError(
                "This captioner has operations that devices lack: "
                f"{reason}. Choose another encoder."
            ) from error


def _settings(
    captioner: WorkdirCaptioner, decoding: Decoding, precision: str, output: str
) -> TFLiteSettings:
    encoder, caption_generator = captioner.encoder, captioner.caption_generator
    rows, columns = (int(side) for side in caption_generator.grid)
    return TFLiteSettings(
        name=pathlib.Path(output).stem,
        precision=precision,
        image_size=encoder.image_size,
        resize_mode=caption_generator.resize_mode,
        rows=rows,
        columns=columns,
        **{name: getattr(decoding, name) for name in DECODING_FIELDS},
        encoder=encoder.name,
        encoder_layer=encoder.layer,
        encoder_digest=encoder.digest,
        vocabulary_digest=caption_generator.vocabulary.digest,
        versions={"tensorflow": tf.__version__, "keras": keras.__version__},
    )
