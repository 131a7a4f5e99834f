r"""Exports a trained captioner, to be served or to run on devices.

    python -m show_attend_tell.export --workdir=runs/scenes \
        --output=savedmodels/scenes

writes the next version of a SavedModel for TensorFlow Serving, such as
savedmodels/scenes/1, with preprocessing, decoding and vocabulary inside. The
decoding is chosen now, by the same flags as for `caption`. Nothing is written
unless the model, loaded as a server loads it, answers as the captioner does.
savedmodels/README.md explains how to serve it and send requests.

    python -m show_attend_tell.export --workdir=runs/scenes \
        --format=tflite --output=scenes.tflite

writes one file for phones, browsers and small computers instead.
"""

from collections.abc import Sequence

from absl import flags, logging

from pipelines.commands import no_arguments, run
from pipelines.errors import UserError
from pipelines.images.photo_folders import photos_in
from pipelines.outputs import check_output_file, check_output_folder
from show_attend_tell.configs.flags import define_decoding_flags
from show_attend_tell.inference.tflite_file import PRECISIONS

_WORKDIR = flags.DEFINE_string(
    "workdir", None, "folder that train wrote", required=True
)
_FORMAT = flags.DEFINE_enum(
    "format",
    "saved_model",
    ["saved_model", "tflite"],
    "what to write: a SavedModel for servers, or one file for devices",
)
_OUTPUT = flags.DEFINE_string(
    "output",
    None,
    "folder of the model, whose name it is served by; or the .tflite file",
    required=True,
)
_PRECISION = flags.DEFINE_enum(
    "precision", "float32", PRECISIONS, "tflite: of weights and arithmetic"
)
_PHOTOS = flags.DEFINE_string(
    "photos", None, "tflite: folder of photos to check with; int8 needs them"
)
_VERSION = flags.DEFINE_integer(
    "version",
    None,
    "number of the version; by default the next after the largest there",
    lower_bound=0,
    upper_bound=2**63 - 1,
)
_BATCH_SIZES = flags.DEFINE_list(
    "batch_sizes",
    ["1", "2", "4", "8", "16", "32"],
    "batches that a server will make; it is warmed up with each",
)
_WEIGHTS = flags.DEFINE_string(
    "encoder_weights", None, "where the encoder's weights are now"
)
_ENSEMBLE = flags.DEFINE_list(
    "ensemble", [], "workdirs or .keras files of models that join in"
)
_DECODING = define_decoding_flags()


def main(arguments: Sequence[str]) -> None:
    """Exports the captioner of a run."""
    # Imported here: processes that check an export import this file, and for
    # devices they must do without TensorFlow.
    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

    no_arguments(arguments)
    logging.set_verbosity(logging.WARNING)
    batch_sizes = _batch_sizes()
    if _FORMAT.value == "tflite":
        check_output_file(_OUTPUT.value, "--output")
    else:
        check_output_folder(_OUTPUT.value, "--output")
    photos = photos_in(_PHOTOS.value)[0] if _PHOTOS.value else []
    captioner = WorkdirCaptioner.load(
        _WORKDIR.value, _WEIGHTS.value, _ENSEMBLE.value
    )
    decoding = captioner.decoding.replace(**{"consensus": 0, **_DECODING()})
    if captioner.decoding.consensus:
        print("an export decodes without --consensus, see BUILD.md")
    if _FORMAT.value == "tflite":
        from show_attend_tell.exporting.tflite import export_tflite

        path, agreements = export_tflite(
            captioner, _OUTPUT.value, decoding, _PRECISION.value, photos
        )
        for name, agreement in agreements.items():
            print(f"{name}: {agreement}")
    else:
        from show_attend_tell.exporting.saved_model import export_saved_model

        path = export_saved_model(
            captioner, _OUTPUT.value, decoding, _VERSION.value, batch_sizes
        )
    print(path)


def _batch_sizes() -> list[int]:
    sizes = _BATCH_SIZES.value
    if not sizes or not all(x.isdecimal() and 0 < int(x) < 1025 for x in sizes):
        raise UserError(
            "Expected --batch_sizes such as 1,2,4,8, each at most 1024. "
            f"Received: {','.join(sizes)!r}"
        )
    return sorted({int(size) for size in sizes})


if __name__ == "__main__":
    run(main)
