"""A TFLite captioner's file: its model, settings and vocabulary.

Behind the model lies an archive, see `tflite_archive`, of `captioner.json` and
`vocabulary.txt` (a word a line, the number of the line is its token). Needs no
TensorFlow.
"""

import dataclasses
import json
import os
import stat

from pipelines.errors import UserError
from pipelines.images.decoding import RESIZE_MODES
from pipelines.vocabulary import END, PADDING, START, UNKNOWN, Vocabulary
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.inference.tflite_archive import (
    append_archive,
    read_archive,
)

ENDING = ".tflite"
GREEDY, BEAM, ENCODE = "greedy", "beam", "encode"
START_CAPTION, STEP = "start", "step"
PRECISIONS = ("float32", "float16", "dynamic", "int8")

# The fields of `Decoding` that a file keeps.
DECODING_FIELDS = (
    "method", "beam_width", "length_penalty", "min_words", "max_words",
    "no_repeat_ngram_size", "allow_unknown", "context_mode",
)  # fmt: skip

FORMAT = 2  # Since it, files have a checksum.
SETTINGS_FILE, WORDS_FILE = "captioner.json", "vocabulary.txt"

# Offset 4 of every TFLite file.
_IDENTIFIER = b"TFL3"
# Flatbuffers reach no further.
_LARGEST_FILE = 2 * 2**30
_LARGEST_PART = {SETTINGS_FILE: 2**16, WORDS_FILE: 16 * 2**20}
_LARGEST_IMAGE = 2048  # pixels


@dataclasses.dataclass(frozen=True)
class TFLiteSettings:
    """What a host needs to run a captioner; `captioner.json`.

    Attributes:
        name: Of the model.
        precision: One of `PRECISIONS`.
        image_size: Side of the image in pixels.
        resize_mode: How a photo is fitted, `"squash"` or `"crop"`, see
            `pipelines.images.decoding.fit_image`.
        rows: Of the attention.
        columns: Of the attention.
        max_words: The longest caption.
        method: The signature to take by default.
        beam_width: Hypotheses of `beam`.
        length_penalty: See `Decoding`, as for the next.
        min_words: See above.
        no_repeat_ngram_size: See above.
        allow_unknown: See above.
        context_mode: `"expected"` or `"peak"`.
        encoder: Name of the encoder.
        encoder_layer: The layer whose output the annotations are.
        encoder_digest: SHA-256 of its weights, before any rounding.
        vocabulary_digest: SHA-256 of `vocabulary.txt`.
        versions: Of the libraries that wrote it.
        format: Of this description.
        padding: Token of no word.
        start: Token before the first word.
        end: Token behind the last word.
        unknown: Token of the unknown word.
    """

    name: str
    precision: str
    image_size: int
    resize_mode: str
    rows: int
    columns: int
    max_words: int
    method: str
    beam_width: int
    length_penalty: float
    min_words: int
    no_repeat_ngram_size: int
    allow_unknown: bool
    context_mode: str
    encoder: str
    encoder_layer: str
    encoder_digest: str
    vocabulary_digest: str
    versions: dict
    format: int = FORMAT
    padding: int = PADDING
    start: int = START
    end: int = END
    unknown: int = UNKNOWN

    @property
    def decoding(self) -> Decoding:
        """The decoding settings."""
        return Decoding(
            **{name: getattr(self, name) for name in DECODING_FIELDS}
        )


def append_tail(
    path: str, settings: TFLiteSettings, vocabulary: Vocabulary
) -> None:
    """Appends settings and vocabulary to the file of a TFLite model."""
    described = json.dumps(
        dataclasses.asdict(settings), indent=2, ensure_ascii=False
    )
    parts = {SETTINGS_FILE: f"{described}\n", WORDS_FILE: vocabulary.text}
    append_archive(path, {name: text.encode() for name, text in parts.items()})


def read_tflite(path: str) -> tuple[TFLiteSettings, Vocabulary, bytes]:
    """Reads a captioner's file, once.

    Returns:
        Its settings, its vocabulary, and all of its bytes, which were checked
        and are to be loaded.

    Raises:
        UserError: The file is missing, is not as it was written, or its tail
            is missing, too large or contradictory.
    """
    try:
        content = _read(path)
        parts = read_archive(content, _LARGEST_PART)
        settings = _settings(json.loads(parts[SETTINGS_FILE]))
        words = parts[WORDS_FILE].decode()
        vocabulary = Vocabulary.from_text(words, WORDS_FILE)
        if vocabulary.digest != settings.vocabulary_digest:
            raise ValueError(f"{WORDS_FILE} has other words")
        return settings, vocabulary, content
    # Deep nesting overflows the parser's stack.
    except (OSError, ValueError, RecursionError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(
            "Expected a captioner for devices, as `export --format=tflite` "
            f"writes it. Received: {os.fspath(path)!r}: {reason}. Get the file "
            "again, or export it again."
        ) from error


def _read(path: str) -> bytes:
    if not stat.S_ISREG(os.stat(path).st_mode):  # A pipe would never open.
        raise ValueError("is no regular file")
    with open(path, "rb") as file:
        status = os.fstat(file.fileno())
        begins = file.read(8)
        if begins[4:] != _IDENTIFIER or status.st_size > _LARGEST_FILE:
            raise ValueError(
                f"begins with {begins!r}, has {status.st_size} bytes"
            )
        file.seek(0)
        return file.read(status.st_size)


def _settings(described) -> TFLiteSettings:
    """Parses untrusted settings."""
    if not isinstance(described, dict) or described.get("format") != FORMAT:
        raise ValueError(f"{SETTINGS_FILE} is not of format {FORMAT}")
    values = {}
    for field in dataclasses.fields(TFLiteSettings):
        value = described.get(field.name)
        kind = (int, float) if field.type is float else field.type
        if not isinstance(value, kind) or (
            isinstance(value, bool) and field.type is not bool
        ):
            raise ValueError(f"{SETTINGS_FILE} has {field.name}={value!r}")
        values[field.name] = value
    settings = TFLiteSettings(**values)
    numbers = (
        settings.padding, settings.start, settings.end, settings.unknown
    )  # fmt: skip
    if numbers != (PADDING, START, END, UNKNOWN):
        raise ValueError(f"{SETTINGS_FILE} has other numbers for its words")
    decoding = settings.decoding  # Checks its own ranges.
    sides = (settings.image_size, settings.rows, settings.columns)
    if (
        not all(0 < side <= _LARGEST_IMAGE for side in sides)
        or settings.resize_mode not in RESIZE_MODES
        or settings.precision not in PRECISIONS
        or decoding.method not in (GREEDY, BEAM)
        or decoding.context_mode not in ("expected", "peak")
    ):
        raise ValueError(f"{SETTINGS_FILE} is out of range")
    return settings
