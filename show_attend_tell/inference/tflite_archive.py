"""The zip archive behind a TFLite model, whose last file guards all before it.

A TFLite model may be followed by anything and a zip archive preceded by
anything, so both are one file. What lies in the archive is stored, not
compressed; `sha256.txt`, the last, is the SHA-256 of every byte of the file
before it: of the model and of the other files.

Files are not trusted. Only the end of the archive and the header before each
file are believed, as far as they lead from one file to the next without a gap;
the headers but the last lie under the digest.
"""

import hashlib
import os
import struct
import zipfile

DIGEST_FILE = "sha256.txt"

# The parts of a zip archive: the header before a file, the entry of a file in
# the list behind them, and the end of that list.
_HEADER = struct.Struct("<4s5H3L2H")
_ENTRY = struct.Struct("<4s6H3L5H2L")
_END = struct.Struct("<4s4H2LH")


def append_archive(path: str, parts: dict[str, bytes]) -> None:
    """Appends files and their digest to the file of a TFLite model."""
    with open(path, "r+b") as file:
        file.seek(0, os.SEEK_END)
        with zipfile.ZipFile(file, "a", zipfile.ZIP_STORED) as archive:
            # With a fixed date the same export gives the same bytes.
            for name, content in parts.items():
                archive.writestr(zipfile.ZipInfo(name), content)
            file.seek(0)
            digest = hashlib.file_digest(file, "sha256").hexdigest()
            archive.writestr(zipfile.ZipInfo(DIGEST_FILE), f"{digest}\n")


def read_archive(content: bytes, limits: dict[str, int]) -> dict[str, bytes]:
    """Returns the files in the archive at the end of a TFLite file.

    Args:
        content: The complete file.
        limits: How many bytes each may have at most, by name, in their order.

    Raises:
        ValueError: There is no such archive, it holds anything else, or the
            file is not as it was written.
    """
    try:
        signature, *_, directory, _ = _END.unpack(content[-_END.size :])
        if signature != b"PK\5\6":
            raise ValueError("no zip archive at its end")
        # Where the first file begins.
        at = _ENTRY.unpack_from(content, directory)[-1]
        parts = {}
        for name, limit in limits.items():
            parts[name] = _stored(content, at, name, limit)
            at += _HEADER.size + len(name) + len(parts[name])
        if at == directory:
            raise ValueError("it is of format 1, which has no checksum")
        digest = _stored(content, at, DIGEST_FILE, 65)
    except struct.error as error:
        raise ValueError("its archive is cut off") from error
    if at + _HEADER.size + len(DIGEST_FILE) + len(digest) != directory:
        raise ValueError("its archive holds more")
    received = hashlib.sha256(memoryview(content)[:at]).hexdigest()
    if digest != f"{received}\n".encode():
        raise ValueError("it was changed or damaged (another SHA-256)")
    return parts


def _stored(content: bytes, at: int, name: str, limit: int) -> bytes:
    """Returns the file whose header is at an offset."""
    signature, _, flags, method, *_, size, name_size, extra = (
        _HEADER.unpack_from(content, at)
    )
    start = at + _HEADER.size + name_size
    received = content[at + _HEADER.size : start]
    if signature != b"PK\3\4" or received != name.encode() or extra:
        raise ValueError(f"no {name} at its place")
    if flags or method:
        raise ValueError(f"{name} is compressed or encrypted")
    if size > limit:
        raise ValueError(f"{name} has {size} bytes, more than {limit}")
    return content[start : start + size]
