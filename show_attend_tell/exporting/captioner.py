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
from pipelines.graph_images import MAX_PIXELS
from pipelines.images import GEOMETRIES, Photo, load_image
from show_attend_tell.captioning import (
    Caption,
    ImageCaptioner,
    hypotheses_of,
)
from show_attend_tell.decoding import Captions, Decoding
from show_attend_tell.exporting.fixed_decoding import keep_decoding
from show_attend_tell.exporting.session import FILE_NAME, SavedModelSession
from show_attend_tell.exporting.signatures import ALL

# Beside what servers read, where they look for their own files only.
SETTINGS_FILE = os.path.join("assets.extra", "captioner.json")


def is_exported(path: str) -> bool:
    """Whether a folder is a version of an exported captioner."""
    return os.path.isfile(os.path.join(path, FILE_NAME))


class ExportedCaptioner(ImageCaptioner):
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
            self.geometry = values["geometry"]
            self.grid = self.session.shape(ALL, "attention")[-2:]
            if self.geometry not in GEOMETRIES:
                raise ValueError(f"geometry={self.geometry!r}")
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
            photos: As for `ImageCaptioner.caption`.
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
                caption = caption_of(answer, n, self.grid, self.geometry)
                yield dataclasses.replace(caption, photo=photo)


def caption_of(
    answer: dict, n: int, grid: tuple[int, int], geometry: str
) -> Caption:
    """Returns the captions of one image in an answer.

    Args:
        answer: What `n_best` or `from_annotations` gives, as arrays.
        n: The number of the image.
        grid: Rows and columns of the locations.
        geometry: How the model saw the photo.

    Returns:
        The best, which holds the others.
    """
    said = Captions(
        tokens=answer["tokens"],
        lengths=answer["length"],
        finished=answer["finished"],
        log_probability=answer["log_probability"],
        score=answer["score"],
        attention=answer["attention"],
        gate=answer["gate"],
        places=answer["places"],
    )
    words = [text.decode().split(" ") for text in answer["caption"][n]]
    return hypotheses_of(
        said, n, lambda h, length: words[h][:length], grid, geometry
    )


def _encoded(photo: Photo) -> bytes:
    """Returns a photo in a form without loss that the model decodes."""
    file = io.BytesIO()
    pixels = np.ascontiguousarray(load_image(photo))
    Image.fromarray(pixels).save(file, "BMP")
    return file.getvalue()
