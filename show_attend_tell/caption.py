"""Captions photos.

    python -m show_attend_tell.caption PHOTO...

uses the captioner that comes with the project; --workdir=runs/scenes uses one
that was trained, --model=savedmodels/scenes/1 or --model=FILE.tflite one that
was exported. The project's and other .tflite files need no TensorFlow.

Arguments are photos or folders of them; a line is printed for each photo, an
error for each that cannot be captioned, and then the exit code is 1.
--attention=DIR draws the attention of each word. --output=FILE.csv or
FILE.json (COCO's format, the best caption of each photo) writes a file. No
file is replaced but those that this command wrote. --num_captions=3 adds the
next best, each with its log-probability.
"""

import sys
from collections.abc import Sequence

from absl import flags

from pipelines.commands import run
from pipelines.ending import report, report_error
from pipelines.errors import UserError
from pipelines.images.given_photos import GivenPhoto, given_photos
from show_attend_tell.configs.flags import define_decoding_flags
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.inference.caption_file import CaptionFile
from show_attend_tell.inference.loading import load
from show_attend_tell.inference.picture_folder import PictureFolder

_WORKDIR = flags.DEFINE_string("workdir", None, "folder that train wrote")
_MODEL = flags.DEFINE_string(
    "model", None, "instead, a version or a file that export wrote"
)
_ATTENTION = flags.DEFINE_string(
    "attention", None, "draw the attention of each word into this folder"
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "write captions to this .csv or .json (COCO's format)"
)
_WEIGHTS = flags.DEFINE_string(
    "encoder_weights", None, "where the encoder's weights are now"
)
_ENSEMBLE = flags.DEFINE_list(
    "ensemble", [], "workdirs or .keras files of models that join in"
)
_BATCH = flags.DEFINE_integer(
    "batch_size", 8, "photos at a time", lower_bound=1
)
_DECODING = define_decoding_flags()


def main(arguments: Sequence[str]) -> None:
    """Captions every photo that can be read, and reports the others."""
    photos, failed = given_photos(arguments)
    count = len(photos) + failed
    # Before the work, which can take hours.
    file = CaptionFile(_OUTPUT.value) if _OUTPUT.value else None
    pictures = None
    if _ATTENTION.value:
        paths = [photo.path for photo in photos]
        pictures = PictureFolder(_ATTENTION.value, paths)
    if photos:
        failed += _caption_all(photos, file, pictures)
    if failed:
        pictured = " or not drawn" if _ATTENTION.value else ""
        report(f"{failed} of {count} not captioned{pictured}")
        sys.exit(1)


def _caption_all(
    photos: Sequence[GivenPhoto],
    file: CaptionFile | None,
    pictures: PictureFolder | None,
) -> int:
    """Captions photos, writes what there is, and returns how many failed."""
    paths, failed, done = [photo.path for photo in photos], 0, 0
    outcomes = _captioner().captions_or_errors(
        paths, min(_BATCH.value, len(paths)), **_DECODING()
    )
    try:
        for photo, outcome in zip(photos, outcomes, strict=True):
            failed += not _deliver(photo, outcome, file, pictures)
            done += 1
            _show_progress(done, len(paths), file)
    finally:  # Also where a signal stops it.
        if file and done:
            file.write()
            if done < len(paths):
                report(f"{len(file.captions)} captions written: {file.path}")
        if pictures:
            report(pictures.finish())
    return failed


def _deliver(
    photo: GivenPhoto,
    outcome: Caption | Exception,
    file: CaptionFile | None,
    pictures: PictureFolder | None,
) -> bool:
    """Prints or keeps a caption and its picture; returns whether all went."""
    if isinstance(outcome, Exception):
        report_error(outcome, photo.path)
        return False
    if file:
        file.captions.append((photo, outcome))
    else:
        print(outcome.format(photo.path), flush=True)
    if pictures and outcome.words:
        try:
            pictures.save(outcome.draw(), photo.path)
        except Exception as error:  # One photo's; the others go on.
            report_error(error, photo.path)
            return False
    return True


def _captioner() -> PhotoCaptioner:
    if _MODEL.value is not None and _WORKDIR.value is not None:
        raise UserError(
            "Expected --workdir=RUN or --model=VERSION, not both. Received: "
            f"workdir={_WORKDIR.value!r}, model={_MODEL.value!r}"
        )
    path = _MODEL.value or _WORKDIR.value
    return load(path, _WEIGHTS.value, _ENSEMBLE.value)


def _show_progress(done: int, count: int, file: CaptionFile | None) -> None:
    if file and sys.stderr.isatty():
        end = "\n" if done == count else ""
        print(f"\r{done}/{count} photos", end=end, file=sys.stderr, flush=True)


if __name__ == "__main__":
    run(main)
