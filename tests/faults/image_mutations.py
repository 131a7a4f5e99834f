"""Damages image files where their format can be seen: chunks and headers."""

import struct
import zlib

import numpy as np

from tests.faults.mutations import mutate

PNG = b"\x89PNG\r\n\x1a\n"
_SIDES = (0, 1, 2, 255, 256, 20_000, 65_500, 65_535, 1_000_000, 2**31 - 1)
_STANDALONE = {0x01, *range(0xD0, 0xDA)}  # JPEG markers without a length.


def png_chunk(kind: bytes, data: bytes) -> bytes:
    """A chunk with its right checksum."""
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I4s", len(data), kind) + data + checksum.to_bytes(4)


def png_chunks(data: bytes) -> list[tuple[bytes, bytes]]:
    """Returns kind and content of the chunks of a file that is sound."""
    chunks, at = [], len(PNG)
    while at < len(data):
        size, kind = struct.unpack_from(">I4s", data, at)
        chunks.append((kind, data[at + 8 : at + 8 + size]))
        at += 12 + size
    return chunks


def is_legal_png(data: bytes) -> bool:
    """Whether chunks have the order, the number and the size of the format.

    Decoders may read the same pixels in others, and do so each in its way.
    """
    try:
        chunks = png_chunks(data)
    except struct.error:
        return False
    kinds = [kind for kind, _ in chunks]
    before = kinds[: kinds.index(b"IDAT")] if b"IDAT" in kinds else []
    return (
        before[:1] == [b"IHDR"]
        and all(
            kinds.count(kind) == before.count(kind) <= 1
            for kind in (b"IHDR", b"PLTE", b"tRNS", b"acTL")
        )
        and b"fdAT" not in before
        and before.count(b"fcTL") <= 1
        and _fit_colours(dict(reversed(chunks)))
    )


def _fit_colours(content: dict[bytes, bytes]) -> bool:
    """Whether palette and transparency have the lengths of their colours."""
    colour, palette = content[b"IHDR"][9:10], content.get(b"PLTE", b"")
    if colour == b"\3" and (not palette or len(palette) % 3):
        return False
    if b"tRNS" not in content:
        return True
    length = len(content[b"tRNS"])
    if colour == b"\3":
        return 0 < length <= len(palette) // 3
    return length == {b"\0": 2, b"\2": 6}.get(colour)


def png_file(chunks: list[tuple[bytes, bytes]]) -> bytes:
    return PNG + b"".join(png_chunk(*chunk) for chunk in chunks)


def mutate_png(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Changes chunks, with right checksums."""
    chunks = png_chunks(data)
    chosen = int(rng.integers(len(chunks)))
    kind, content = chunks[chosen]
    operation = rng.integers(6)
    if operation == 0 and content:
        chunks[chosen] = kind, mutate(content, rng)[1]
    elif operation == 1:
        chunks.insert(int(rng.integers(len(chunks) + 1)), chunks[chosen])
    elif operation == 2:
        chunks.insert(int(rng.integers(len(chunks))), chunks.pop(chosen))
    elif operation == 3:
        del chunks[chosen]
    elif operation == 4:
        header = bytearray(chunks[0][1])
        if rng.random() < 0.5:
            side = int(rng.choice(_SIDES))
            struct.pack_into(">I", header, int(rng.choice([0, 4])), side)
        else:
            header[rng.integers(8, 13)] = rng.integers(0, 17)
        chunks[0] = chunks[0][0], bytes(header)
    else:
        private = bytes(rng.choice([b"prVt", b"tRNS", b"PLTE", b"eXIf"]))
        content = rng.bytes(rng.integers(0, 800))
        chunks.insert(int(rng.integers(len(chunks))), (private, content))
    return "PNG chunks", png_file(chunks)


def jpeg_segments(data: bytes) -> list[bytes]:
    """Returns the segments of a file that is sound; scans with their data."""
    starts, at = [0], 2
    while at < len(data) - 1:
        marker = data[at + 1]
        if data[at] == 0xFF and marker not in (0, 0xFF):
            starts.append(at)
            if marker not in _STANDALONE:
                at += 2 + int.from_bytes(data[at + 2 : at + 4])
                continue
            at += 1
        at += 1
    # Restart markers belong to their scan.
    starts = [s for s in starts if not 0xD0 <= data[s + 1] <= 0xD7]
    ends = [*starts[1:], len(data)]
    return [data[s:e] for s, e in zip(starts, ends, strict=True)]


def mutate_jpeg(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Changes segments: their order, number, or what one holds."""
    segments = jpeg_segments(data)
    chosen = int(rng.integers(1, len(segments)))
    operation = rng.integers(5)
    if operation == 0:
        times = int(rng.integers(2, 200))
        segments[chosen:chosen] = [segments[chosen]] * times
    elif operation == 1:
        segments.insert(
            int(rng.integers(1, len(segments))), segments.pop(chosen)
        )
    elif operation == 2:
        del segments[chosen]
    elif operation == 3:
        segments[chosen] = (
            segments[chosen][:4]
            + (mutate(segments[chosen][4:] or b"\0", rng)[1])
        )
    else:
        frame = next(
            n for n, s in enumerate(segments) if s[1] in (0xC0, 0xC1, 0xC2)
        )
        header = bytearray(segments[frame])
        side = int(rng.choice(_SIDES)) & 0xFFFF
        struct.pack_into(">H", header, int(rng.choice([5, 7])), side)
        segments[frame] = bytes(header)
    return "JPEG segments", b"".join(segments)


# Of each format, where its sides are: offset and struct's format.
_SIDES_AT = {
    b"GIF8": ((6, "<H"), (8, "<H")),
    b"BM": ((18, "<i"), (22, "<i"), (28, "<H"), (30, "<I")),
    b"RIFF": ((24, "<H"), (26, "<H"), (28, "<H"), (21, "<I"), (4, "<I")),
}


def lie_about_size(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Writes other sides, or another kind of pixels, into a header."""
    for signature, fields in _SIDES_AT.items():
        if data.startswith(signature):
            offset, kind = fields[rng.integers(len(fields))]
            bits = 8 * struct.calcsize(kind)
            side = int(rng.choice(_SIDES)) % 2 ** (bits - 1)
            if rng.random() < 0.1 and kind == "<i":
                side = -side
            changed = bytearray(data)
            struct.pack_into(kind, changed, offset, side)
            return "sizes that lie", bytes(changed)
    return mutate_tiff(data, rng)


def mutate_tiff(data: bytes, rng: np.random.Generator) -> tuple[str, bytes]:
    """Changes the value of a tag of a little-endian TIFF file."""
    if not data.startswith(b"II*\0"):
        return mutate(data, rng)
    directory = int.from_bytes(data[4:8], "little")
    count = int.from_bytes(data[directory : directory + 2], "little")
    entry = directory + 2 + 12 * int(rng.integers(count))
    changed = bytearray(data)
    field = int(rng.choice([0, 2, 4, 8, 8, 8]))
    kind = "<H" if field < 4 else "<I"
    value = int(rng.choice(_SIDES)) % 2 ** (8 * struct.calcsize(kind))
    struct.pack_into(kind, changed, entry + field, value)
    return "TIFF tags", bytes(changed)


def mutate_image(
    data: bytes, rng: np.random.Generator, others: list[bytes]
) -> tuple[str, bytes]:
    """Returns the name of a mutation, and what it makes of a sound file."""
    if rng.random() < 0.5:
        return mutate(data, rng, others)
    if data.startswith(PNG):
        return mutate_png(data, rng)
    if data.startswith(b"\xff\xd8"):
        return mutate_jpeg(data, rng)
    return lie_about_size(data, rng)
