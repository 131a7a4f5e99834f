"""Loads captioners of any kind from their paths."""

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING

from pipelines.errors import UserError

if TYPE_CHECKING:
    from show_attend_tell.inference.caption import PhotoCaptioner


def load(
    path: str | None = None,
    encoder_weights: str | None = None,
    ensemble: Sequence[str] = (),
) -> "PhotoCaptioner":
    """Loads a captioner that was trained or exported.

        captioner = show_attend_tell.load("runs/scenes")
        caption = captioner.caption("photo.jpg")
        caption.draw().save("attention.png")

    Args:
        path: The workdir of a training, or the folder of an exported
            version, such as `"savedmodels/scenes/1"`, or a `.tflite` file,
            which needs no TensorFlow. By default the captioner that comes
            with the project.
        encoder_weights: A file, where the encoder's weights have moved. An
            exported captioner contains them.
        ensemble: Workdirs, or `.keras` files in them, of models that decode
            together with that of `path`.

    Returns:
        A `PhotoCaptioner`.

    Raises:
        UserError: A file is missing, or does not belong to the others.
    """
    # Imported here: they take time that not every import needs.
    from show_attend_tell.inference.shipped_model import shipped_model
    from show_attend_tell.inference.tflite_captioner import (
        TFLiteCaptioner,
        is_tflite,
    )

    path = path or shipped_model()
    if is_tflite(path):
        _refuse_more(path, encoder_weights, ensemble)
        return TFLiteCaptioner(path)
    if not os.path.isdir(path):
        raise UserError(
            "Expected a captioner: the folder that train wrote, or the folder "
            "or the .tflite file that export wrote. Received: "
            f"{os.fspath(path)!r}"
        )
    from show_attend_tell.inference.saved_model_captioner import (
        SavedModelCaptioner,
        is_saved_model,
    )
    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

    if is_saved_model(path):
        _refuse_more(path, encoder_weights, ensemble)
        return SavedModelCaptioner(path)
    return WorkdirCaptioner.load(path, encoder_weights, ensemble)


def _refuse_more(path: str, encoder_weights, ensemble) -> None:
    """An exported captioner has all that it needs inside."""
    if encoder_weights or ensemble:
        raise UserError(
            "Expected --encoder_weights and --ensemble with the workdir of a "
            f"training only. Received: both or one of them, with {path!r}"
        )
