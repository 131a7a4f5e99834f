"""The list of a cache's shards, which binds them to each other.

`shards.json` has the digest of each shard's index, in which are the digest of
its records and of what they mean. So a shard of another cache is noticed when
a cache is opened, without reading gigabytes; records are checked by
ArrayRecord's own hashes when they are read. `SHA256SUMS` lists this file and
`metadata.json`.
"""

import os
from collections.abc import Sequence

from pipelines import checksums
from pipelines.cache.metadata import FILE_NAME as METADATA_FILE
from pipelines.errors import UserError
from pipelines.files import PathLike, read_json

FILE_NAME = "shards.json"


def read_shard_list(directory: PathLike, mend: str) -> tuple[str, ...]:
    """Reads the digests of the shards' indices, in order.

    Raises:
        UserError: The extraction has not ended, or a file was changed.
    """
    checksums.check(directory, (METADATA_FILE, FILE_NAME), mend)
    path = os.path.join(directory, FILE_NAME)
    digests = read_json(path)
    if not isinstance(digests, list) or not all(
        isinstance(digest, str) for digest in digests
    ):
        raise UserError(f"Expected a list of digests in {path}. {mend}")
    return tuple(digests)


def list_shards(directory: PathLike, digests: Sequence[str]) -> None:
    """Writes the list into a folder whose metadata are there.

    `digests` are those of the indices of all shards, see `ShardReader`.
    """
    if not os.path.lexists(os.path.join(directory, checksums.FILE_NAME)):
        checksums.list_files(directory, [METADATA_FILE])
    checksums.write_json(directory, FILE_NAME, list(digests))
