"""Extracts annotations on many machines, as `AnnotationCache` reads them."""

import dataclasses
import os
import tempfile

import numpy as np

from pipelines import checksums
from pipelines.cache import shard_list
from pipelines.cache.extraction import (
    read_finished,
    shard_paths,
    write_shard,
)
from pipelines.cache.metadata import FILE_NAME, Manifest, Metadata, ids_digest
from pipelines.cache.shard_list import list_shards
from pipelines.cache.shards import ShardReader, shard_path
from pipelines.captions import Skipped
from pipelines.encoders.encoder import Encoder
from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from pipelines.files import write_atomically
from pipelines.images.decoding import fit_image
from pipelines.sharded.files import join, local_copy, read_file, write_file
from pipelines.sharded.images import ListedImage, Shard, Span, begin, pixels_of
from pipelines.sharded.pipeline import ShardWork


@dataclasses.dataclass(frozen=True)
class ShardedExtraction(ShardWork):
    """Extracts the annotations of shards.

    A file of `weights` must be there on workers too. With `retry_errors`,
    shards that skipped images are done again.
    """

    directory: str
    metadata: Metadata
    weights: str = "default"
    batch_size: int = 16
    retry_errors: bool = False

    def begin(self, images: list[ListedImage], shard_size: int) -> list[Span]:
        """Makes the output folder one of this extraction."""
        digest = ids_digest([image.id for image in images])
        manifest = Manifest(self.metadata, len(images), shard_size, digest)
        return begin(
            self.directory, images, shard_size, FILE_NAME, manifest.to_dict()
        )

    def load(self) -> Encoder:
        """Builds the encoder."""
        expected = self.metadata
        encoder = build_encoder_anywhere(
            expected.encoder, expected.layer, self.weights
        )
        if encoder.digest != expected.digest:
            raise UserError(
                f"The weights of {encoder.name} on this worker are others "
                f"(SHA-256 {encoder.digest[:12]}..., expected "
                f"{expected.digest[:12]}...)"
            )
        return encoder

    def finished(self, shard: Shard) -> list[Skipped] | None:
        """Checks the file of a shard as `extract_annotations` does."""
        name = shard_path("", shard.number, shard.count)
        if read_file(join(self.directory, name), length=0) is None:
            return None
        with local_copy(self.directory, [name]) as folder:
            ids = [image.id for image in shard.images]
            path = os.path.join(folder, name)
            written = read_finished(path, ids, self.metadata)
        if written is None or (written.skipped and self.retry_errors):
            return None
        return list(written.skipped)

    def run(self, encoder: Encoder, shard: Shard) -> list[Skipped]:
        """Writes a shard."""
        ids = [image.id for image in shard.images]
        squares = map(self._square, shard.images)
        expected, batch_size = self.metadata, self.batch_size
        with tempfile.TemporaryDirectory() as folder:
            path = shard_path(folder, shard.number, shard.count)
            skipped = write_shard(
                path, ids, squares, encoder, expected, batch_size
            )
            with open(path, "rb") as file:
                name = os.path.basename(path)
                write_file(join(self.directory, name), file.read())
        return skipped

    def end(self) -> None:
        """Lists the shards, which binds them to each other."""
        with tempfile.TemporaryDirectory() as folder:
            manifest = read_file(join(self.directory, FILE_NAME))
            write_atomically(os.path.join(folder, FILE_NAME), manifest)
            digests = []
            for name in shard_paths("", Manifest.read(folder)):
                with local_copy(self.directory, [name]) as copy:
                    path = os.path.join(copy, name)
                    digests.append(ShardReader(path).digest)
            list_shards(folder, digests)
            for name in (shard_list.FILE_NAME, checksums.FILE_NAME):
                with open(os.path.join(folder, name), "rb") as file:
                    write_file(join(self.directory, name), file.read())

    def _square(self, image: ListedImage) -> np.ndarray | str:
        pixels = pixels_of(image)
        if isinstance(pixels, str):
            return pixels
        return fit_image(
            pixels, self.metadata.image_size, self.metadata.resize_mode
        )


def build_encoder_anywhere(
    name: str, layer: str | None, weights: str
) -> Encoder:
    """Builds an encoder; a file of weights may be a `scheme://` path."""
    folder, _, file = weights.rpartition("/")
    if "://" not in folder:
        return build_encoder(name, layer, weights)
    with local_copy(folder, [file]) as copy:
        return build_encoder(name, layer, os.path.join(copy, file))
