"""An exported captioner, used like one that was trained."""

import dataclasses
import io
import itertools
import os
from collections.abc import Iterable, Iterator

import numpy as np
from PIL import Image

from pipelines.errors import UserError
from pipelines.files import read_json
from pipelines.images.decoding import RESIZE_MODES, Photo, load_image
from pipelines.images.graph_decoding import MAX_PIXELS
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.exporting.saved_model_signatures import ALL
from show_attend_tell.exporting.session import FILE_NAME, SavedModelSession
from show_attend_tell.inference.caption_generator import (
    Caption,
    WorkdirCaptioner,
    hypotheses_of,
)
from show_attend_tell.inference.fixed_decoding import keep_decoding

# Beside what servers read, where they look for their own files only.
SETTINGS_FILE = os.path.join("assets.extra", "captioner.json")


def is_saved_model(path: str) -> bool:
    """Whether a folder is a version of an exported captioner."""
    return os.path.isfile(os.path.join(path, FILE_NAME))


class SavedModelCaptioner(WorkdirCaptioner):
    """Captions images with a SavedModel.

    Photos are read as by any other captioner, also those in forms that the
    model itself does not decode, and are given to it upright and without
    loss. How captions are said was chosen at export.

    Args:
        path: The folder of a version, such as `"savedmodels/scenes/1"`.

    Raises:
        UserError: It holds no exported captioner.
    """

    def __init__(self, path: str):
        self.session = SavedModelSession(path)
        settings = os.path.join(path, SETTINGS_FILE)
        try:
            values = read_json(settings)
            self.decoding = Decoding(**values["decoding"])
            self.resize_mode = values["resize_mode"]
            self.grid = self.session.shape(ALL, "attention")[-2:]
            if self.resize_mode not in RESIZE_MODES:
                raise ValueError(f"resize_mode={self.resize_mode!r}")
        except (KeyError, TypeError, ValueError) as error:
            raise UserError(
                f"Expected a captioner that `export` wrote. Received: "
                f"{path!r}, whose {SETTINGS_FILE} or signatures do not fit: "
                f"{error}. Export it again."
            ) from error

    def stream(
        self, photos: Iterable[Photo], batch_size: int = 8, **decoding
    ) -> Iterator[Caption]:
        """Captions photos one batch after the other, without end.

        Args:
            photos: As for `WorkdirCaptioner.caption`.
            batch_size: How many go through the networks together.
            **decoding: Settings, which must be those of the export.

        Yields:
            The captions, in order.

        Raises:
            UserError: A photo cannot be read, or a setting is another.
        """
        keep_decoding(self.decoding, decoding)
        photos = iter(photos)
        while given := list(itertools.islice(photos, batch_size)):
            images = [_encoded(photo) for photo in given]
            answer = self.session(ALL, images=images)
            for n, photo in enumerate(given):
                if not answer["valid"][n]:
                    raise UserError(
                        f"Expected an image of at most {MAX_PIXELS} pixels. "
                        f"Received: {load_image(photo).shape[:2]}. Make it "
                        "smaller first."
                    )
                caption = caption_of(answer, n, self.grid, self.resize_mode)
                yield dataclasses.replace(caption, photo=photo)


def caption_of(
    answer: dict, n: int, grid: tuple[int, int], resize_mode: str
) -> Caption:
    """Returns the captions of one image in an answer.

    Args:
        answer: What `n_best` or `from_annotations` gives, as arrays.
        n: The number of the image.
        grid: Rows and columns of the locations.
        resize_mode: How the model saw the photo.

    Returns:
        The best, which holds the others.
    """
    said = DecodedCaptions(
        tokens=answer["tokens"],
        lengths=answer["length"],
        finished=answer["finished"],
        log_probability=answer["log_probability"],
        score=answer["score"],
        attention=answer["attention"],
        gate=answer["gate"],
        locations=answer["locations"],
    )
    words = [text.decode().split(" ") for text in answer["caption"][n]]
    return hypotheses_of(
        said, n, lambda h, length: words[h][:length], grid, resize_mode
    )


def _encoded(photo: Photo) -> bytes:
    """Returns a photo in a form without loss that the model decodes."""
    file = io.BytesIO()
    pixels = np.ascontiguousarray(load_image(photo))
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()
