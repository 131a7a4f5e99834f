"""Extracts the annotations of many images into a cache, once each."""

import collections
import contextlib
import os
from collections.abc import Callable, Iterator, Sequence

import keras
import numpy as np

from pipelines import checksums
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.cache.metadata import (
    FILE_NAME,
    Manifest,
    Metadata,
    check_equal,
    extract_command,
    ids_digest,
)
from pipelines.cache.records import encode_annotations
from pipelines.cache.shard_list import list_shards, read_shard_list
from pipelines.cache.shards import ShardReader, new_shard, shard_path
from pipelines.captions import CaptionedImage, Skipped
from pipelines.encoders.encoder import Encoder
from pipelines.errors import UserError
from pipelines.files import (
    LOCK_NAME,
    PathLike,
    locked,
    remove_leftovers,
    write_json,
)
from pipelines.images.preparation import prepare, prepared_ahead


def extract_annotations(
    images: Sequence[CaptionedImage],
    encoder: Encoder,
    resize_mode: str,
    directory: PathLike,
    precision: str = "sqrt8",
    *,
    batch_size: int = 16,
    shard_size: int = 1024,
    workers: int = 2,
    max_skipped: float = 0.02,
    restart: bool = False,
    verbose: bool = True,
) -> AnnotationCache:
    """Extracts the annotations of images into a folder.

    The same call continues a run that was stopped, however hard: finished
    shards are kept, and the files end up the same as without the stop.

    Args:
        images: The images, with ids that are unique; their order stays.
        encoder: The encoder, such as `build_encoder` returns it.
        resize_mode: How images are fitted, `"crop"` or `"squash"`.
        directory: A new folder, or one of an earlier call with the same
            images, encoder, resize_mode, precision and shard size.
        precision: `"sqrt8"` (8-bit square root) or `"float16"`.
        batch_size: Images a batch. It stays the same for every batch, so
            that no annotation depends on how many images come last.
        shard_size: Images a shard. No batch crosses its border.
        workers: Threads that read images, or processes that render them.
        max_skipped: The part of the images that may be unreadable.
        restart: Whether what an unfinished call for something else has left
            is made anew, and no error.
        verbose: Whether a progress bar is shown.

    Returns:
        The cache, open.

    Raises:
        UserError: The folder holds something else or is being written,
            too many images cannot be read, or the disk is full.
        ValueError: There are no images, or two have one id.
    """
    metadata = Metadata.describe(encoder, resize_mode, precision)
    manifest = _manifest(images, metadata, shard_size)
    being_written = (
        f"Another extraction is writing to {os.fspath(directory)!r}. Wait "
        "until it ends, or choose another folder with "
        "--annotations=OTHER_DIR."
    )
    settings = (batch_size, workers, max_skipped, verbose)
    try:
        os.makedirs(directory, exist_ok=True)
        with locked(directory, being_written):
            manifest = _begin(directory, manifest, restart)
            _extract(images, encoder, directory, manifest, *settings)
            paths = shard_paths(directory, manifest)
            list_shards(directory, [ShardReader(p).digest for p in paths])
    except OSError as error:
        raise UserError(
            f"The annotations cannot be written to {os.fspath(directory)!r}: "
            f"{error}. Make room, or choose another folder with "
            "--annotations=OTHER_DIR, and run the extraction again."
        ) from error
    return AnnotationCache.open(directory, metadata)


def read_finished(
    path: str, ids: Sequence[str], metadata: Metadata, listed: str | None = None
) -> ShardReader | None:
    """Returns a shard of these images, if it is there and not damaged.

    One of an earlier version, without digests, gets them. `listed` is the
    digest of its index, where the shards are listed already.
    """
    try:
        shard = ShardReader(path)
        shard.verify()
    except UserError:
        return None
    if shard.image_ids != tuple(ids) or listed not in (None, shard.digest):
        return None
    if shard.metadata is None:
        return shard.bind(metadata.binding)
    return shard if shard.metadata == metadata.binding else None


def write_shard(
    path: str,
    ids: Sequence[str],
    pixels: Iterator[np.ndarray | str],
    encoder: Encoder,
    metadata: Metadata,
    batch_size: int,
    on_batch: Callable[[int], object] = lambda images: None,
) -> list[Skipped]:
    """Writes a shard in batches; returns the images that were skipped.

    `pixels` gives for each image uint8 (S, S, 3), or why there are none. Every
    batch is filled up to `batch_size` images.
    """
    side = encoder.image_size
    skipped = []
    with new_shard(path, metadata.binding) as writer:
        for first in range(0, len(ids), batch_size):
            batch = ids[first : first + batch_size]
            squares = [next(pixels) for _ in batch]
            filled = np.zeros((batch_size, side, side, 3), np.uint8)
            for row, square in enumerate(squares):
                if not isinstance(square, str):
                    filled[row] = square
            annotations = np.asarray(encoder.model.predict_on_batch(filled))
            annotations = annotations[: len(batch)]
            rows = zip(batch, squares, annotations, strict=True)
            for id, square, annotation in rows:
                if isinstance(square, str):
                    writer.skip(id, square)
                    skipped.append(Skipped(id, square))
                else:
                    record = encode_annotations(annotation, metadata)
                    writer.add(id, record)
            on_batch(len(batch))
    return skipped


def _manifest(
    images: Sequence[CaptionedImage], metadata: Metadata, shard_size: int
) -> Manifest:
    ids = [image.id for image in images]
    if not ids:
        raise ValueError("Expected images. Received: none.")
    for id in ids:
        try:
            id.encode()
        except UnicodeEncodeError as error:
            raise UserError(
                f"Expected an id in Unicode. Received: id={id!r}. Rename the "
                "file."
            ) from error
    if len(set(ids)) < len(ids):
        ((twice, count),) = collections.Counter(ids).most_common(1)
        raise ValueError(
            f"Expected ids that are unique. Received: id={twice!r}, "
            f"{count} times."
        )
    return Manifest(metadata, len(ids), shard_size, ids_digest(ids))


def _begin(directory: PathLike, manifest: Manifest, restart: bool) -> Manifest:
    """Makes the folder one of this extraction, or checks that it is.

    Returns the manifest to go by: a folder that was begun keeps how locations
    are stored.
    """
    path = os.path.join(directory, FILE_NAME)
    if not os.path.exists(path):
        remove_leftovers(directory, FILE_NAME)
        others = sorted(set(os.listdir(directory)) - {LOCK_NAME})
        if others:
            raise UserError(
                "Expected a new folder, or one with annotations. Received: "
                f"{os.fspath(directory)!r}, which holds {others[0]!r}. "
                "Choose another with --annotations=OTHER_DIR."
            )
        write_json(path, manifest.to_dict())
        return manifest
    remove_leftovers(directory)
    existing = Manifest.read(directory)
    if os.path.lexists(os.path.join(directory, checksums.FILE_NAME)):
        mend = (
            "Put the file back; or, where it is right as it is, delete "
            f"{checksums.FILE_NAME} there, and run the extraction again"
        )
        checksums.check(directory, [FILE_NAME], mend)
    elif restart and _is_unfinished(directory, existing):
        if existing.comparable != manifest.comparable:
            print(f"{directory}: begun for other images or settings, made anew")
            for name in _shards(directory):
                os.remove(os.path.join(directory, name))
            write_json(path, manifest.to_dict())
            return manifest
    check_equal(directory, manifest.metadata, existing.metadata)
    for name, expected in manifest.comparable.items():
        if existing.comparable[name] != expected:
            raise UserError(
                f"The annotations in {os.fspath(directory)!r} are of other "
                f"images: expected {name} {expected}, found "
                f"{existing.comparable[name]}. Delete that folder, or choose "
                "another: "
                f"{extract_command('OTHER_DIR', manifest.metadata)}"
            )
    return existing


def shard_paths(directory: PathLike, manifest: Manifest) -> list[str]:
    """Returns the paths of the shards that there are in the end."""
    return [
        shard_path(directory, number, manifest.shards)
        for number in range(manifest.shards)
    ]


def _is_unfinished(directory: PathLike, manifest: Manifest) -> bool:
    return len(_shards(directory)) < manifest.shards


def _shards(directory: PathLike) -> list[str]:
    return [n for n in os.listdir(directory) if n.endswith(".array_record")]


def _extract(
    images: Sequence[CaptionedImage],
    encoder: Encoder,
    directory: PathLike,
    manifest: Manifest,
    batch_size: int,
    workers: int,
    max_skipped: float,
    verbose: bool,
) -> None:
    pending, skipped = _pending(images, directory, manifest)
    limit = max_skipped * manifest.images
    _check_skipped(skipped, limit, manifest.images)
    todo = [image for chosen in pending.values() for image in chosen]
    if verbose and len(todo) < manifest.images:
        kept = manifest.images - len(todo)
        print(f"{kept} of {manifest.images} images are done already")
    metadata, window = manifest.metadata, 2 * batch_size
    size, resize_mode = encoder.image_size, metadata.resize_mode
    bar = keras.utils.Progbar(
        len(todo), verbose=int(verbose), unit_name="image"
    )
    ahead = prepared_ahead(todo, size, resize_mode, workers, window)
    with contextlib.closing(ahead):
        for path, chosen in pending.items():
            ids = [image.id for image in chosen]
            skipped += write_shard(
                path, ids, ahead, encoder, metadata, batch_size, bar.add
            )
            _check_skipped(skipped, limit, manifest.images)


def _pending(
    images: Sequence[CaptionedImage], directory: PathLike, manifest: Manifest
) -> tuple[dict[str, Sequence[CaptionedImage]], list[Skipped]]:
    """Returns the images of unfinished shards, and what others skipped.

    A shard is also redone if an image that it skipped can be read by now.
    """
    metadata = manifest.metadata
    fit, listed = (metadata.image_size, metadata.resize_mode), {}
    with contextlib.suppress(UserError):  # It has not ended yet.
        listed = dict(enumerate(read_shard_list(directory, "")))
    pending, skipped = {}, []
    for number in range(manifest.shards):
        first = number * manifest.shard_size
        chosen = images[first : first + manifest.shard_size]
        path = shard_path(directory, number, manifest.shards)
        ids = [image.id for image in chosen]
        shard = read_finished(path, ids, metadata, listed.get(number))
        unreadable = {one.name for one in shard.skipped} if shard else set()
        retried = (image for image in chosen if image.id in unreadable)
        mended = any(not isinstance(prepare(x, *fit), str) for x in retried)
        if shard is None or mended:
            pending[path] = chosen
        else:
            skipped += shard.skipped
    return pending, skipped


def _check_skipped(
    skipped: Sequence[Skipped], limit: float, images: int
) -> None:
    if len(skipped) > limit:
        shown = "; ".join(f"{s.name}: {s.reason}" for s in skipped[:5])
        raise UserError(
            f"Expected at most {int(limit)} of {images} images to be "
            f"unreadable. Received: {len(skipped)} that are; the first: "
            f"{shown}. Mend or remove them and run the extraction again; "
            "what is extracted is kept."
        )
