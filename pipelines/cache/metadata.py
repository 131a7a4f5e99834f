"""Describes a cache of annotations; checked whenever one is opened.

`Metadata` is what an annotation is: all that must be equal for two to mean
the same thing. A trained model keeps one, and asks every cache for it.
`Manifest` is `metadata.json`: the metadata, which images the cache is of,
and what wrote it.
"""

import dataclasses
import hashlib
import json
import os
import shlex
from collections.abc import Sequence

import keras
import tensorflow as tf

from pipelines.cache.precisions import EXACT, PRECISIONS
from pipelines.encoders.encoder import PIXELS, Encoder
from pipelines.errors import UserError
from pipelines.files import PathLike, read_json
from pipelines.images.decoding import RESIZE_MODES

# Of everything in the folder: raised when older readers could misread it.
# Records of the last leave out locations that are repeated, see `parts`.
VERSIONS = (2, 3)
FILE_NAME = "metadata.json"

_MAX_JSON_BYTES = 64 * 2**20
_MAX_SIDE = 65536
_MAX_VALUES = 2**26
_MAX_IMAGES = 2**31
_MAX_PARTS = 64


@dataclasses.dataclass(frozen=True)
class Metadata:
    """What an annotation is: of which encoder and image, and how it is stored.

    `digest` is the SHA-256 of the encoder's weights; `precision` is
    `"sqrt8"`, `"float16"`, or `"uint8"`, which pixels are and nothing else.
    `parts` are those of `Encoder`, each stored on its own grid; how locations
    are stored makes no difference to what an annotation is, so caches of
    earlier versions, which repeat them, are equal.
    """

    encoder: str
    layer: str
    digest: str
    preprocessing: str
    resize_mode: str
    image_size: int
    grid: tuple[int, int]
    depth: int
    precision: str
    parts: tuple[tuple[int, int, int], ...] = dataclasses.field(
        default=(), compare=False
    )

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if not _CHECKS.get(field.name, _is_text)(value):
                raise UserError(
                    "Expected the description of annotations. Received: "
                    f"{field.name}={_short(value)}."
                )
        pixels = (self.layer == PIXELS, self.precision == EXACT)
        if any(pixels) and not (all(pixels) and self.depth == 3):
            raise UserError(
                f"Expected pixels, and these alone, to be {EXACT} of depth 3. "
                f"Received: layer={self.layer}, precision={self.precision}, "
                f"depth={self.depth}."
            )
        if self.locations * self.depth > _MAX_VALUES:
            raise UserError(
                f"Expected at most {_MAX_VALUES} values an image. Received: "
                f"grid={self.grid}, depth={self.depth}."
            )
        if self.parts:
            self._check_parts()

    def _check_parts(self) -> None:
        rows, columns = self.grid
        fit = all(
            rows % part_rows == columns % part_columns == 0
            for part_rows, part_columns, _ in self.parts
        )
        depth = sum(depth for *_, depth in self.parts)
        if not fit or depth != self.depth or self.precision == EXACT:
            raise UserError(
                "Expected parts that divide the grid and make up the depth. "
                f"Received: grid={self.grid}, depth={self.depth}, "
                f"parts={_short(self.parts)}."
            )

    @property
    def stored(self) -> tuple[tuple[int, int, int], ...]:
        """Rows, columns and depth of what a record has, one after another."""
        return self.parts or ((*self.grid, self.depth),)

    @property
    def locations(self) -> int:
        """The number L of locations."""
        return self.grid[0] * self.grid[1]

    @classmethod
    def describe(
        cls, encoder: Encoder, resize_mode: str, precision: str = "sqrt8"
    ) -> "Metadata":
        """Describes an encoder's annotations; pixels are stored exactly."""
        names = ("layer", "digest", "preprocessing", "image_size", "depth")
        return cls(
            encoder=encoder.name,
            grid=tuple(encoder.grid),
            resize_mode=resize_mode,
            precision=EXACT if encoder.layer == PIXELS else precision,
            parts=encoder.parts,
            **{name: getattr(encoder, name) for name in names},
        )

    def to_dict(self) -> dict:
        """Returns what `from_dict` and JSON take."""
        values = {**dataclasses.asdict(self), "grid": list(self.grid)}
        parts = [list(part) for part in values.pop("parts")]
        return {**values, "parts": parts} if parts else values

    @property
    def binding(self) -> str:
        """SHA-256 of all fields, by which a shard names its metadata."""
        text = json.dumps(self.to_dict(), sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @classmethod
    def from_dict(cls, values: object) -> "Metadata":
        """Reads what `to_dict` gave."""
        names = {field.name for field in dataclasses.fields(cls)}
        if not isinstance(values, dict) or {*values, "parts"} != names:
            raise UserError(
                "Expected the description of annotations with the fields "
                f"{sorted(names)}. Received: {_short(values)}."
            )
        parts = _tuple(values.get("parts", ()))
        if isinstance(parts, tuple):
            parts = tuple(map(_tuple, parts))
        return cls(**{**values, "grid": _tuple(values["grid"]), "parts": parts})

    def differences(self, other: "Metadata") -> tuple[str, ...]:
        """Names each difference to what is there, where `self` is expected."""
        mine, others = dataclasses.asdict(self), dataclasses.asdict(other)
        for values in (mine, others):
            del values["parts"]
            values["encoder"] += f"/{values.pop('layer')}"
            values["weights' digest"] = values.pop("digest")
        return tuple(
            f"expected {name} {expected}, found {others[name]}"
            for name, expected in mine.items()
            if expected != others[name]
        )


@dataclasses.dataclass(frozen=True)
class Manifest:
    """What `metadata.json` holds; the versions of the writer are not compared.

    `images` counts skipped ones too; `ids_digest` is the SHA-256 of their ids.
    """

    metadata: Metadata
    images: int
    shard_size: int
    ids_digest: str
    tensorflow: str = tf.__version__
    keras: str = keras.__version__

    @property
    def shards(self) -> int:
        """The number of shards."""
        return -(-self.images // self.shard_size)

    @property
    def version(self) -> int:
        """The oldest version whose readers read the folder."""
        return VERSIONS[-1] if self.metadata.parts else VERSIONS[0]

    @property
    def comparable(self) -> dict[str, object]:
        """What must be equal for an extraction to go on."""
        names = ("metadata", "images", "shard_size", "ids_digest")
        return {name: getattr(self, name) for name in names}

    def to_dict(self) -> dict:
        """Returns what is written to the file."""
        values = {**vars(self), "metadata": self.metadata.to_dict()}
        return {**values, "version": self.version}

    @classmethod
    def read(cls, directory: PathLike) -> "Manifest":
        """Reads the file of a folder of annotations."""
        path = os.path.join(directory, FILE_NAME)
        if not os.path.isfile(path):
            raise UserError(
                f"Expected a folder with annotations. Received: "
                f"{os.fspath(directory)!r}, which has no {FILE_NAME}. Make "
                f"them: {extract_command(directory)}"
            )
        size = os.path.getsize(path)
        values = read_json(path) if size <= _MAX_JSON_BYTES else None
        if not isinstance(values, dict):
            raise UserError(
                f"Expected a JSON object of at most {_MAX_JSON_BYTES} bytes. "
                f"Received: {path}, {size} bytes."
            )
        version = values.pop("version", None)
        if version not in VERSIONS:
            raise UserError(
                f"Expected annotations of a version of {VERSIONS}. Received: "
                f"version={_short(version)} in {path}. Extract them anew: "
                f"{extract_command('OTHER_DIR')}"
            )
        try:
            names = {field.name for field in dataclasses.fields(cls)}
            if set(values) != names:
                raise UserError(f"Received the fields {_short(set(values))}.")
            metadata = Metadata.from_dict(values.pop("metadata"))
            manifest = cls(metadata=metadata, **values)
            for count in (manifest.images, manifest.shard_size):
                if not _is_count(count, _MAX_IMAGES):
                    raise UserError(f"Received {_short(count)} images.")
            if not _is_text(manifest.ids_digest):
                raise UserError("Received no digest of the ids.")
        except UserError as error:
            raise UserError(
                f"{path} is damaged: {error} Extract the annotations anew: "
                f"{extract_command('OTHER_DIR')}"
            ) from error
        return manifest


def check_equal(
    directory: PathLike, expected: Metadata, actual: Metadata
) -> None:
    """Checks that a folder's annotations mean what is expected."""
    differences = expected.differences(actual)
    if differences:
        raise UserError(
            f"The annotations in {os.fspath(directory)!r} are others: "
            f"{'; '.join(differences)}. Extract them into another folder: "
            f"{extract_command('OTHER_DIR', expected)}"
        )


def ids_digest(ids: Sequence[str]) -> str:
    """SHA-256 of a list of ids in their order, in hexadecimal."""
    return hashlib.sha256(json.dumps(list(ids)).encode()).hexdigest()


def extract_command(
    directory: PathLike, metadata: Metadata | None = None
) -> str:
    """The command that extracts annotations, less the flags of the images."""
    words = [f"--annotations={os.fspath(directory)}"]
    if metadata is not None:
        words += [
            f"--encoder={metadata.encoder}",
            f"--encoder_layer={metadata.layer}",
            f"--resize_mode={metadata.resize_mode}",
        ]
        if metadata.precision != EXACT:
            words.append(f"--precision={metadata.precision}")
    return shlex.join(["python", "-m", "pipelines.extract_features", *words])


def _is_text(value: object) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 1024


def _is_count(value: object, limit: int = _MAX_SIDE) -> bool:
    # A bool is an int to Python.
    return type(value) is int and 0 < value <= limit


def _tuple(value: object) -> object:
    return tuple(value) if isinstance(value, list) else value


def _are_counts(value: object, length: int) -> bool:
    return (
        isinstance(value, tuple)
        and len(value) == length
        and all(map(_is_count, value))
    )


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 200 else f"{text[:200]}..."


_CHECKS = {
    "resize_mode": lambda value: value in RESIZE_MODES,
    "precision": lambda value: value in (*PRECISIONS, EXACT),
    "image_size": _is_count,
    "grid": lambda value: _are_counts(value, 2),
    "depth": _is_count,
    "parts": lambda value: (
        isinstance(value, tuple)
        and len(value) <= _MAX_PARTS
        and all(_are_counts(part, 3) for part in value)
    ),
}
