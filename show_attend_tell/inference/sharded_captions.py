"""Captions photos on many machines, into one JSON Lines file per shard.

A file has a line for each image of its shard, in order:

    {"id": "cats/1.jpg", "caption": "a cat asleep", "words": ["a", ...],
     "log_probability": -3.25, "finished": true}
    {"id": "cats/2.jpg", "error": "... is truncated or damaged: ..."}

with `"alternatives"` and `"attention"` (words, rows, columns) where asked for.
Numbers are rounded to five decimals.
"""

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence

import numpy as np

from pipelines import checksums
from pipelines.cache.metadata import ids_digest
from pipelines.captions import Skipped
from pipelines.ending import reason_of
from pipelines.errors import UserError
from pipelines.sharded.files import join, local_copy, read_file, write_file
from pipelines.sharded.images import ListedImage, Shard, Span, begin, pixels_of
from pipelines.sharded.pipeline import ShardWork
from show_attend_tell.configs.run_config import FILE_NAME as CONFIG_FILE
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.inference.model_files import (
    METADATA_FILE,
    MODEL_FILE,
    VOCABULARY_FILE,
)
from show_attend_tell.inference.reranking import CAPTIONS_FILE, NUMBERS_FILE
from show_attend_tell.inference.saved_model_captioner import (
    SavedModelCaptioner,
    is_saved_model,
)
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

MANIFEST_FILE = "captions.json"

_RUN_FILES = (MODEL_FILE, VOCABULARY_FILE, METADATA_FILE)
# The files of a run that a worker reads; those of similar photos are optional.
_READ_FILES = (CONFIG_FILE, *_RUN_FILES, CAPTIONS_FILE, NUMBERS_FILE)
_READ_FILES += (checksums.FILE_NAME,)
_DECIMALS = 5


@dataclasses.dataclass(frozen=True)
class ShardedCaptioning(ShardWork):
    """Captions shards of images with a model that every worker loads."""

    directory: str  # of the output
    model: str  # a workdir or an exported version, wherever Beam reaches
    digest: str  # SHA-256 of the model's files, which every worker checks
    encoder_weights: str | None = None  # if the file of the training has moved
    # Fields of `Decoding` that differ from those of the model.
    decoding: dict = dataclasses.field(default_factory=dict)
    batch_size: int = 8
    attention: bool = False  # whether attention is written
    retry_errors: bool = False  # whether shards with skipped images are redone

    def begin(
        self, images: Sequence[ListedImage], shard_size: int
    ) -> list[Span]:
        """Prepares the output folder and returns the shards."""
        captioner = self.load()
        decoding = captioner.decoding.replace(**self.decoding)
        if decoding.needs_noise:
            raise UserError(
                "Expected decoding without randomness. Received: "
                f"method={decoding.method!r}, "
                f"context_mode={decoding.context_mode!r}. For these use "
                "python -m show_attend_tell.caption"
            )
        # An exported model refuses settings other than those of its export.
        captioner.caption([], **self.decoding)
        manifest = {
            "model": self.digest,
            "decoding": dataclasses.asdict(decoding),
            "attention": self.attention,
            "images": len(images),
            "shard_size": shard_size,
            "ids_digest": ids_digest([image.id for image in images]),
        }
        return begin(
            self.directory, images, shard_size, MANIFEST_FILE, manifest
        )

    def load(self) -> PhotoCaptioner:
        """Loads the captioner, and checks its files against the digest."""
        with _local_copy(self.model) as folder:
            if _digest(folder) != self.digest:
                raise UserError(
                    f"The model {self.model!r} is another one on this worker."
                )
            if is_saved_model(folder):
                return SavedModelCaptioner(folder)
            captioner = WorkdirCaptioner.load(folder, self.encoder_weights)
            # The folder may be a temporary copy: read all of it now.
            captioner.caption_generator.prepare(
                captioner.decoding.replace(**self.decoding)
            )
            return captioner

    def finished(self, shard: Shard) -> list[Skipped] | None:
        """Returns the skipped images, if the shard's file is complete."""
        data = read_file(self._path(shard))
        if data is None:
            return None
        try:
            lines = [json.loads(line) for line in data.splitlines()]
            if [line["id"] for line in lines] != [i.id for i in shard.images]:
                return None
            errors = [line for line in lines if "caption" not in line]
            skipped = [Skipped(line["id"], line["error"]) for line in errors]
        except (ValueError, TypeError, KeyError):
            return None  # Damaged.
        return None if skipped and self.retry_errors else skipped

    def run(self, captioner: PhotoCaptioner, shard: Shard) -> list[Skipped]:
        """Captions a shard's images and writes its file."""
        lines, skipped = [], []
        for first in range(0, len(shard.images), self.batch_size):
            batch = shard.images[first : first + self.batch_size]
            captions = self._captions(captioner, batch)
            for image, caption in zip(batch, captions, strict=True):
                if isinstance(caption, str):
                    skipped.append(Skipped(image.id, caption))
                    entry = {"error": caption}
                else:
                    entry = _entry(caption, self.attention)
                lines.append(json.dumps({"id": image.id, **entry}) + "\n")
        write_file(self._path(shard), "".join(lines).encode())
        return skipped

    def _path(self, shard: Shard) -> str:
        return join(self.directory, shard.file_name("captions", "jsonl"))

    def _captions(
        self, captioner: PhotoCaptioner, batch: Sequence[ListedImage]
    ) -> list[Caption | str]:
        """Returns for each image its caption, or why there is none."""
        decoded = [pixels_of(image) for image in batch]
        pixels = [one for one in decoded if not isinstance(one, str)]
        outcomes = captioner.captions_or_errors(
            pixels, self.batch_size, **self.decoding
        )
        remaining = (
            one if isinstance(one, Caption) else reason_of(one)
            for one in outcomes
        )
        return [x if isinstance(x, str) else next(remaining) for x in decoded]


def model_digest(model: str) -> str:
    """Returns the SHA-256 of the files that determine a model's captions."""
    with _local_copy(model) as folder:
        return _digest(folder)


def _local_copy(model: str):
    """Copies what a worker reads of a run, or all of an exported version."""
    is_run = read_file(join(model, CONFIG_FILE), length=0) is not None
    return local_copy(model, _READ_FILES if is_run else ())


def _digest(folder: str) -> str:
    names = _RUN_FILES
    if os.path.exists(os.path.join(folder, CAPTIONS_FILE)):
        names = (*names, CAPTIONS_FILE)  # It names the other's digest.
    if is_saved_model(folder):
        names = sorted(
            os.path.relpath(os.path.join(parent, name), folder)
            for parent, _, files in os.walk(folder)
            for name in files
        )
    try:
        digests = [
            checksums.file_digest(os.path.join(folder, name)) for name in names
        ]
    except OSError as error:
        raise UserError(
            "Expected a folder that train wrote, or a version that export "
            f"wrote. Received: {folder!r} ({error})"
        ) from error
    return hashlib.sha256("".join(digests).encode()).hexdigest()


def _entry(caption: Caption, attention: bool) -> dict:
    entry = {
        "caption": caption.text,
        "words": list(caption.words),
        "log_probability": round(caption.log_probability, _DECIMALS),
        "finished": caption.finished,
    }
    if attention:
        weights = caption.attention.astype(np.float64)
        entry["attention"] = weights.round(_DECIMALS).tolist()
    if caption.alternatives:
        others = [_entry(other, attention) for other in caption.alternatives]
        entry["alternatives"] = others
    return entry
