"""Annotations by many machines, in the form that `AnnotationCache` reads."""

import dataclasses
import os
import tempfile

import numpy as np

from pipelines.cache.extraction import write_batch
from pipelines.cache.metadata import FILE_NAME, Manifest, Metadata, ids_digest
from pipelines.cache.records import (
    ShardIndex,
    ShardWriter,
    file_digest,
    index_path,
    shard_path,
)
from pipelines.captions import Skipped
from pipelines.encoders.registry import Encoder, build_encoder
from pipelines.errors import UserError
from pipelines.images.decoding import fit_image
from pipelines.sharded.files import (
    join,
    local_copy,
    read_file,
    remove_file,
    write_file,
)
from pipelines.sharded.images import ListedImage, Shard, Span, begin, pixels_of
from pipelines.sharded.pipeline import ShardWork


@dataclasses.dataclass(frozen=True)
class ShardedExtraction(ShardWork):
    """Extracts the annotations of shards.

    Attributes:
        directory: The output folder.
        metadata: What an annotation is.
        weights: As for `build_encoder`; workers must find a file there too.
        batch_size: Images a batch.
        retry_errors: Whether shards that skipped images are done again.
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
        """Builds the encoder.

        Raises:
            UserError: Its weights here are others.
        """
        meant = self.metadata
        encoder = build_encoder_anywhere(
            meant.encoder, meant.layer, self.weights
        )
        if encoder.digest != meant.digest:
            raise UserError(
                f"The weights of {encoder.name} on this worker are others "
                f"(SHA-256 {encoder.digest[:12]}..., expected "
                f"{meant.digest[:12]}...)"
            )
        return encoder

    def finished(self, shard: Shard) -> list[Skipped] | None:
        """Checks the files of a shard as `extract_annotations` does."""
        path = shard_path("", shard.number, shard.count)
        names = [path, index_path(path)]
        if read_file(join(self.directory, names[1])) is None:
            return None
        with local_copy(self.directory, names) as folder:
            path = os.path.join(folder, path)
            try:
                index = ShardIndex.read(path, len(shard.images), self.metadata)
            except UserError:
                return None
            if file_digest(path) != index.sha256:
                return None
        if index.ids != tuple(image.id for image in shard.images):
            return None
        if index.skipped and self.retry_errors:
            return None
        return list(index.skipped)

    def run(self, encoder: Encoder, shard: Shard) -> list[Skipped]:
        """Writes a shard and then its index, which says that it is whole."""
        skipped = []
        with tempfile.TemporaryDirectory() as folder:
            path = shard_path(folder, shard.number, shard.count)
            with ShardWriter(path) as writer:
                for first in range(0, len(shard.images), self.batch_size):
                    batch = shard.images[first : first + self.batch_size]
                    skipped += write_batch(
                        writer,
                        batch,
                        [self._square(image) for image in batch],
                        encoder,
                        self.metadata,
                        self.batch_size,
                    )
            index = index_path(path)
            # An index of an earlier shard must never stand beside a new one.
            remove_file(join(self.directory, os.path.basename(index)))
            for file in (path, index):
                with open(file, "rb") as written:
                    data = written.read()
                write_file(join(self.directory, os.path.basename(file)), data)
        return skipped

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
    """Builds an encoder whose weights may lie where Beam reaches.

    Args:
        name: As for `build_encoder`.
        layer: As for `build_encoder`.
        weights: As for `build_encoder`, or a `scheme://` path.
    """
    folder, _, file = weights.rpartition("/")
    if "://" not in folder:
        return build_encoder(name, layer, weights)
    with local_copy(folder, [file]) as copy:
        return build_encoder(name, layer, os.path.join(copy, file))
