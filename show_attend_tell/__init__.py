"""Show, Attend and Tell: everything from a batch on."""

from typing import TYPE_CHECKING

import pipelines as pipelines  # First: it quiets TensorFlow.

if TYPE_CHECKING:
    from show_attend_tell.captioning import ImageCaptioner


def load(path: str, encoder_weights: str | None = None) -> "ImageCaptioner":
    """Loads a captioner that was trained or exported.

        captioner = show_attend_tell.load("runs/scenes")
        caption = captioner.caption("photo.jpg")
        caption.draw().save("attention.png")

    Args:
        path: The workdir of a training, or the folder of an exported
            version, such as `"savedmodels/scenes/1"`.
        encoder_weights: A file, where the encoder's weights have moved. An
            exported captioner has them inside.

    Returns:
        A `captioning.ImageCaptioner`.

    Raises:
        UserError: A file is missing, or does not belong to the others.
    """
    # Here, because TensorFlow takes seconds that not every import needs.
    from show_attend_tell.captioning import ImageCaptioner
    from show_attend_tell.exporting.captioner import (
        ExportedCaptioner,
        is_exported,
    )

    if is_exported(path):
        return ExportedCaptioner(path)
    return ImageCaptioner.load(path, encoder_weights)
