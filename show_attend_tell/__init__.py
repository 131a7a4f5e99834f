"""Show, Attend and Tell: everything from a batch on."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

import pipelines as pipelines  # First: it quiets TensorFlow.

if TYPE_CHECKING:
    from show_attend_tell.captions import PhotoCaptioner


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
            version, such as `"savedmodels/scenes/1"`, or a `.tflite` file
            for devices, which needs no TensorFlow. By default the captioner
            of photos that comes with the project.
        encoder_weights: A file, where the encoder's weights have moved. An
            exported captioner has them inside.
        ensemble: Workdirs, or `.keras` files in them, of models that say
            captions together with that of `path`.

    Returns:
        A `captions.PhotoCaptioner`.

    Raises:
        UserError: A file is missing, or does not belong to the others.
    """
    # Here, because these take seconds that not every import needs.
    from show_attend_tell.exporting.device_captioner import (
        DeviceCaptioner,
        is_for_devices,
    )
    from show_attend_tell.shipped import shipped_model

    path = path or shipped_model()
    if is_for_devices(path):
        return DeviceCaptioner(path)
    from show_attend_tell.captioning import ImageCaptioner
    from show_attend_tell.exporting.captioner import (
        ExportedCaptioner,
        is_exported,
    )

    if is_exported(path):
        return ExportedCaptioner(path)
    return ImageCaptioner.load(path, encoder_weights, ensemble)
