"""Damages one file of a folder that belongs together."""

import json
import os
import pathlib
import shutil

import numpy as np

from pipelines import checksums
from tests.faults.campaign import Fault
from tests.faults.json_mutations import mutate_json
from tests.faults.mutations import change_digits, mutate


def link_folder(source: pathlib.Path, target: pathlib.Path) -> None:
    """Makes a folder of the same files, without copying what they hold.

    Locks are not among them: they would be held in both.
    """
    ignored = shutil.ignore_patterns(".*")
    shutil.copytree(source, target, copy_function=os.link, ignore=ignored)


def write_anew(path: pathlib.Path, data: bytes) -> None:
    """Replaces a file, and not what other names of it hold."""
    path.unlink(missing_ok=True)
    path.write_bytes(data)


def damage(
    path: pathlib.Path,
    other: pathlib.Path,
    rng: np.random.Generator,
) -> str:
    """Damages a file, or puts that of another folder in its place.

    Returns:
        The name of the damage.
    """
    data, chosen = path.read_bytes(), rng.random()
    if chosen < 0.08 and other.exists():
        if other.read_bytes() == data:
            return "the same file of another folder"
        write_anew(path, other.read_bytes())
        return "file of another folder"
    if chosen < 0.12:
        path.unlink()
        return "file removed"
    if chosen < 0.16:
        path.unlink()
        return _replace(path, rng)
    if chosen < 0.55 and path.suffix == ".json":
        name, text = mutate_json(json.loads(data), rng)
        write_anew(path, text.encode(errors="surrogatepass"))
        return name
    if chosen < 0.65:
        write_anew(path, change_digits(data, rng))
        return "change_digits"
    name, mutated = mutate(data, rng)
    write_anew(path, mutated)
    return name


def _replace(path, rng):
    """Puts something that is no file in the place of one."""
    operation = rng.integers(4)
    if operation == 0:
        path.mkdir()
    elif operation == 1:
        os.mkfifo(path)
    elif operation == 2:
        path.symlink_to(path)
    else:
        path.symlink_to("/dev/zero")
    return ("folder", "pipe", "endless symlink", "endless file")[operation]


def reseal(folder: pathlib.Path) -> None:
    """Lists the files anew as they are, as somebody malicious would."""
    path = folder / checksums.FILE_NAME
    if not path.is_file() or path.is_symlink():
        return
    names = {line[66:] for line in path.read_text().splitlines()}
    there = [name for name in sorted(names) if _is_plain(folder / name)]
    path.unlink()
    checksums.list_files(folder, there)


def _is_plain(path: pathlib.Path) -> bool:
    return path.is_file() and not str(path.resolve()).startswith("/dev")


def check_equal(one, other, what: str) -> None:
    """Raises a Fault where two results differ, arrays and all."""
    if one.keys() != other.keys():
        raise Fault("silent change", f"{what}: {sorted(one)}")
    for name, value in one.items():
        if not np.array_equal(value, other[name]):
            raise Fault("silent change", f"{what}: another {name}")
