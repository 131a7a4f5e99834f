"""Captions photos with an exported SavedModel."""

import io
import os

import numpy as np
import tensorflow as tf
from PIL import Image

from pipelines import checksums
from pipelines.errors import UserError
from pipelines.files import parse_json, read_text
from pipelines.images.decoding import RESIZE_MODES, Photo, load_image
from pipelines.images.graph_decoding import MAX_PIXELS
from pipelines.words import split_joined
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.inference.caption_generator import image_caption
from show_attend_tell.inference.fixed_decoding import keep_decoding
from show_attend_tell.inference.saved_model_operations import FILE_NAME
from show_attend_tell.inference.saved_model_session import (
    ALL_CAPTIONS,
    SavedModelSession,
)

# In the folder for files of which a server reads only those it knows.
SETTINGS_FILE = os.path.join("assets.extra", "captioner.json")
_MAX_SETTINGS_BYTES = 2**20


def is_saved_model(path: str) -> bool:
    """Whether a folder is a version of an exported captioner."""
    return any(
        os.path.isfile(os.path.join(path, name))
        for name in (FILE_NAME, SETTINGS_FILE)
    )


class SavedModelCaptioner(PhotoCaptioner):
    """Captions photos with a SavedModel, decoded as chosen at export.

    Photos are read as by any other captioner, including forms that the
    model itself does not decode, and reach it upright and without loss.

    Args:
        path: The folder of a version, such as `"savedmodels/scenes/1"`.

    Raises:
        UserError: It holds no exported captioner.
    """

    def __init__(self, path: str):
        check_version(path)
        self.session = SavedModelSession(path)
        settings = os.path.join(path, SETTINGS_FILE)
        try:
            text = read_text(settings, max_bytes=_MAX_SETTINGS_BYTES)
            values = parse_json(text, settings)
            self.decoding = Decoding(**values["decoding"])
            self.resize_mode = values["resize_mode"]
            self.image_size = values["encoder"]["image_size"]
            self.grid = _grid(self.session)
            if self.resize_mode not in RESIZE_MODES:
                raise ValueError(f"resize_mode={self.resize_mode!r}")
            if type(self.image_size) is not int or self.image_size < 1:
                raise ValueError(f"image_size={self.image_size!r}")
        except (LookupError, TypeError, ValueError) as error:
            raise UserError(
                f"Expected a captioner that `export` wrote. Received: "
                f"{path!r}, whose {SETTINGS_FILE} or signatures do not fit: "
                f"{error}. Export it again."
            ) from error

    def decoding_of(self, **changes) -> Decoding:
        """See `PhotoCaptioner`."""
        return keep_decoding(self.decoding, changes)

    def prepare(self, photo: Photo) -> bytes:
        """Encodes a photo without loss, in a format that the model decodes."""
        pixels = np.ascontiguousarray(load_image(photo))
        height, width = pixels.shape[:2]
        if height * width > MAX_PIXELS:
            raise UserError(
                f"Expected an image of at most {MAX_PIXELS} pixels for an "
                f"exported model. Received: {width} x {height}. Make it "
                "smaller first."
            )
        file = io.BytesIO()
        Image.fromarray(pixels).save(file, "BMP")
        return file.getvalue()

    def generate(
        self, photos, first, batch_size, decoding
    ) -> list[Caption | Exception]:
        """See `PhotoCaptioner`."""
        try:
            answer = self.session(ALL_CAPTIONS, images=photos)
            return [
                parse_answer(answer, n, self.grid, self.resize_mode)
                if answer["valid"][n]
                else UserError("The model cannot decode this photo.")
                for n in range(len(photos))
            ]
        # The graph of a stranger may fail, or answer in another shape.
        except (
            tf.errors.OpError, AttributeError, LookupError, TypeError,
            ValueError,
        ) as error:  # fmt: skip
            reason = (str(error).strip().splitlines() or [repr(error)])[-1]
            raise UserError(
                f"The model {self.session.path} cannot be run: {reason}. "
                "Export it again."
            ) from error


def files_of_version(path: str) -> list[str]:
    """Returns the names of the files of an exported version, sorted.

    Those that `SHA256SUMS` lists: all but itself and hidden ones.
    """
    names = (
        os.path.relpath(os.path.join(folder, name), path)
        for folder, _, files in os.walk(path)
        for name in files
    )
    hidden = (".", checksums.FILE_NAME)
    return sorted(name for name in names if not name.startswith(hidden))


def check_version(path: str) -> None:
    """Checks that the files of an exported version are those it came with.

    Raises:
        UserError: One is missing, was changed or added.
    """
    names = files_of_version(path)
    mend = (
        "Export it again; or, where all are right as they are, list them: "
        f"{checksums.list_command(path, names)}"
    )
    listed = checksums.read(path, mend)
    checksums.check(path, sorted({*listed, *names}), mend)


def _grid(session: SavedModelSession) -> tuple[int, int]:
    """Returns the rows and columns of the attention of `n_best`.

    Raises:
        ValueError: It has not the inputs and outputs of a captioner.
    """
    outputs = {*DecodedCaptions._fields, "caption", "length", "valid"}
    missing = outputs - {"lengths", *session.signatures[ALL_CAPTIONS].outputs}
    shape = session.shape(ALL_CAPTIONS, "attention")
    if missing or len(shape) != 5 or None in shape[-2:]:
        raise ValueError(f"{ALL_CAPTIONS} lacks {missing or 'a grid'}")
    return shape[-2:]


def parse_answer(
    answer: dict, n: int, grid: tuple[int, int], resize_mode: str
) -> Caption:
    """Returns the best caption of an image, with the others in it.

    Args:
        answer: Of `n_best` or `from_annotations`, as NumPy arrays.
        n: The number of the image.
        grid: Rows and columns of the locations.
        resize_mode: How the photo was fitted.
    """
    answer = {**answer, "lengths": answer["length"]}
    decoded = DecodedCaptions(*map(answer.get, DecodedCaptions._fields))

    def words(h, length):
        return split_joined(answer["caption"][n, h].decode(), length)[:length]

    return image_caption(decoded, n, words, grid, resize_mode)
