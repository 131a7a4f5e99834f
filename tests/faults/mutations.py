"""Damages bytes at random, in the ways that files are damaged or forged."""

from collections.abc import Sequence

import numpy as np

# Integers at which programs go wrong.
_INTEGERS = (
    0, 1, 2, 3, 0x7F, 0x80, 0xFF, 0x100, 0x7FFF, 0x8000, 0xFFFF, 0x10000,
    0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF,
)  # fmt: skip


def flip_bits(data: bytes, rng: np.random.Generator) -> bytes:
    """Flips one to eight bits."""
    array = np.frombuffer(data, np.uint8).copy()
    for _ in range(rng.integers(1, 9)):
        array[rng.integers(len(array))] ^= 1 << rng.integers(8)
    return array.tobytes()


def set_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Sets a short run of bytes to others."""
    array = np.frombuffer(data, np.uint8).copy()
    start = rng.integers(len(array))
    length = min(len(array) - start, rng.integers(1, 33))
    array[start : start + length] = rng.integers(0, 256, length)
    return array.tobytes()


def zero_bytes(data: bytes, rng: np.random.Generator) -> bytes:
    """Sets a block to zero, as a disk that failed leaves it."""
    start = rng.integers(len(data))
    length = min(len(data) - start, rng.integers(1, 4097))
    return data[:start] + bytes(length) + data[start + length :]


def truncate(data: bytes, rng: np.random.Generator) -> bytes:
    """Cuts the end off."""
    return data[: rng.integers(len(data))]


def delete(data: bytes, rng: np.random.Generator) -> bytes:
    """Takes a piece out of the middle."""
    start = rng.integers(len(data))
    return data[:start] + data[start + rng.integers(1, 65) :]


def repeat(data: bytes, rng: np.random.Generator) -> bytes:
    """Repeats a piece, a few times."""
    start = rng.integers(len(data))
    piece = data[start : start + rng.integers(1, 257)]
    return data[:start] + piece * int(rng.integers(2, 9)) + data[start:]


def insert(data: bytes, rng: np.random.Generator) -> bytes:
    """Inserts a few bytes."""
    start = rng.integers(len(data) + 1)
    return data[:start] + rng.bytes(rng.integers(1, 17)) + data[start:]


def set_integer(data: bytes, rng: np.random.Generator) -> bytes:
    """Writes an integer of the kind at which programs go wrong."""
    size = int(rng.choice([1, 2, 4]))
    value = int(rng.choice(_INTEGERS)) % 2 ** (8 * size)
    # Headers are what comes first.
    end = len(data) if rng.random() < 0.5 else min(64, len(data))
    start = rng.integers(end)
    number = value.to_bytes(size, str(rng.choice(["little", "big"])))
    return (data[:start] + number + data[start + size :])[: len(data)]


def change_digits(data: bytes, rng: np.random.Generator) -> bytes:
    """Changes one decimal digit, as text holds them."""
    digits = [n for n, byte in enumerate(data[:65536]) if 48 <= byte <= 57]
    if not digits:
        return flip_bits(data, rng)
    chosen = int(rng.choice(digits))
    digit = 48 + (data[chosen] - 48 + int(rng.integers(1, 10))) % 10
    return data[:chosen] + bytes([digit]) + data[chosen + 1 :]


MUTATIONS = (
    flip_bits, set_bytes, zero_bytes, truncate, delete, repeat, insert,
    set_integer, change_digits,
)  # fmt: skip


def splice(data: bytes, other: bytes, rng: np.random.Generator) -> bytes:
    """Joins the begin of one file and the end of another."""
    return data[: rng.integers(len(data))] + other[rng.integers(len(other)) :]


def mutate(
    data: bytes, rng: np.random.Generator, others: Sequence[bytes] = ()
) -> tuple[str, bytes]:
    """Returns the name of a mutation, and what it makes of bytes."""
    while True:
        if others and rng.random() < 0.1:
            other = others[rng.integers(len(others))]
            name, mutated = "splice", splice(data, other, rng)
        else:
            mutation = MUTATIONS[rng.integers(len(MUTATIONS))]
            name, mutated = mutation.__name__, mutation(data, rng)
        if mutated != data:
            return name, mutated
