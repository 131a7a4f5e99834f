"""Runs, exports and extractions that are stopped at random, and go on.

Each case stops a tiny command twice within one of its phases: by SIGKILL at a
random moment or before a random operation on files, by SIGINT or SIGTERM, by a
limit on the size of files, or by a full disk. After each stop all files there
must be whole; at the end the same command must give the same figures, weights
and files as one that nothing befell, and nothing else.
"""

import contextlib
import dataclasses
import hashlib
import io
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time
import zipfile

import h5py

from pipelines import checksums
from pipelines.cache.shards import ShardReader
from pipelines.errors import UserError
from pipelines.sources.scenes import load_scenes
from tests.faults.campaign import Case, Fault, Limits
from tests.faults.forks import Ended, Harm, run

ATTACK = "stops of training, extraction and export"
LIMITS = Limits(seconds=120, mebibytes=4096, ceiling=16384)

_STOPS = 2  # In each case.
_DISK = "disk"
# What HDF5's wrapper says where a signal comes while it frees an object.
_NOISE = re.compile(
    r"Exception ignored in: .*h5py.*\n(?:Traceback.*\n)?(?: .*\n)*\w.*\n"
)
_SYSTEM = "/usr/bin:/bin:/usr/sbin:/sbin"
_TINY = (
    "show_attend_tell.train", "--workdir={}", "--train_images=8",
    "--validation_images=2", "--test_images=2", "--epochs=2", "--units=8",
    "--embedding_size=8", "--attention_units=8", "--batch_size=20",
    "--length_step=28", "--pictures=1", "--beam_width=2", "--max_words=6",
    "--checkpoint_minutes=0", "--keep_epochs=1", "--dropout=0.3", "--ema=0.9",
)  # fmt: skip
# All that is random in training.
_TRAIN = (
    *_TINY, "--objective=hard_attention", "--label_smoothing=0.1",
    "--scheduled_sampling=0.5",
)  # fmt: skip
_WARM_START = (
    *_TINY, "--objective=self_critical", "--warm_start={run}",
    "--annotations={run}/annotations", "--batch_size=4",
)  # fmt: skip
_EXPORT = "show_attend_tell.export", "--beam_width=2", "--max_words=4"


@dataclasses.dataclass(frozen=True)
class Phase:
    """A command, the functions of it that are the phase, and what it writes.

    `{}` stands for what it writes, `{run}` for a run that was trained. Where
    it writes a captioner, `model`, its captions are compared as well.
    """

    command: tuple[str, ...]
    functions: tuple[str, ...]
    output: str = "run"
    model: str | None = None


_RUN = "show_attend_tell.training.run"
PHASES = {
    "extraction": Phase(_TRAIN, (f"{_RUN}:prepare_data",)),
    "training": Phase(_TRAIN, (f"{_RUN}:Run.train_epoch",)),
    "validation": Phase(_TRAIN, (f"{_RUN}:Run._validate",)),
    "scoring": Phase(_TRAIN, (f"{_RUN}:_final_scores",)),
    "warm_start": Phase(_WARM_START, (f"{_RUN}:train",)),
    "export_saved_model": Phase(
        (*_EXPORT, "--workdir={run}", "--output={}", "--batch_sizes=1"),
        ("show_attend_tell.exporting.saved_model:export_saved_model",),
        "scenes",
        "scenes/1",
    ),
    "export_tflite": Phase(
        (*_EXPORT, "--workdir={run}", "--output={}", "--format=tflite"),
        ("show_attend_tell.exporting.tflite:export_tflite",),
        "scenes.tflite",
        "scenes.tflite",
    ),
}  # fmt: skip
KINDS = ("moment", "operation", "SIGTERM", "moment", "operation", "SIGINT")
KINDS += ("moment", "operation", "file limit", "full disk")


def chosen() -> list[str]:
    """Returns the phases that `--phase` names, or all."""
    given = os.environ.get("FAULTS_PHASE")
    return [given] if given else [*PHASES]


def prepare(folder: pathlib.Path) -> None:
    """Runs what nothing befalls, and keeps what the phases begin with."""
    _import()
    for name in ("training", *chosen()):
        if not (folder / name).exists():
            _undisturbed(folder, name)


def start(folder: pathlib.Path):
    """Loads everything; returns what tries a case."""
    _import()
    return lambda case: _try(folder, case)


def _import() -> None:
    """Imports what commands use, and runs no operation."""
    # METEOR by Java takes long to start.
    os.environ["PATH"] = os.path.dirname(sys.executable)
    import show_attend_tell.exporting.saved_model
    import show_attend_tell.exporting.tflite
    import show_attend_tell.training.run  # noqa: F401
    from pipelines.cache.extraction import extract_annotations

    extract_annotations.__kwdefaults__["shard_size"] = 4


def _undisturbed(folder: pathlib.Path, name: str) -> None:
    made = folder / f"{name}.making"
    shutil.rmtree(made, ignore_errors=True)
    work = made / "work"
    work.mkdir(parents=True)
    ended = _run(name, folder, work, Harm(snapshot=made / "base"))
    if ended.code:
        raise RuntimeError(ended.text)
    expected = {
        "seconds": ended.seconds,
        "operations": ended.operations,
        "result": _result_of(name, work, made),
    }
    (made / "expected.json").write_text(json.dumps(expected, indent=1))
    made.rename(folder / name)


def _run(name: str, folder: pathlib.Path, work: pathlib.Path, harm=None):
    phase, trained = PHASES[name], folder / "training" / "work" / "run"
    command = [
        part.format(work / phase.output, run=trained) for part in phase.command
    ]
    output = work.parent / "output"
    if work.parent.name == _DISK:
        output = work.parent.parent / "output"
    return run(command, work, phase.functions, output, harm)


def _try(folder: pathlib.Path, case: Case) -> bool:
    phases = chosen()
    name = phases[case.number % len(phases)]
    turn = case.number // len(phases) + case.number % len(phases)
    kind = KINDS[turn % len(KINDS)]
    case.attack, case.inputs = f"{name}: {kind}", 0
    expected = json.loads((folder / name / "expected.json").read_text())
    with contextlib.ExitStack() as stack:
        disk = case.folder
        if kind == "full disk":
            disk = stack.enter_context(_small_disk(case.folder / _DISK))
        work = disk / "work"
        shutil.copytree(folder / name / "base", work)
        for _ in range(_STOPS):
            harm = _harm(case.rng, kind, expected)
            if kind == "full disk":
                largest = _bytes_of(folder / name / "work") + 2**16
                room = _bytes_of(work) + int(case.rng.integers(largest))
                _resize(disk, room)
            begun = time.monotonic()
            ended = _run(name, folder, work, harm)
            case.seconds = max(case.seconds, time.monotonic() - begun)
            case.mebibytes = max(case.mebibytes, ended.mebibytes)
            stopped = _judge(ended, kind, work)
            if kind == "full disk":
                _resize(disk, 2**30)
            check_state(work)
            if not stopped:
                break
            case.inputs += 1
        ended = _run(name, folder, work)
        if ended.code and "is there already" not in ended.text:
            raise Fault("does not go on", ended.text[-1500:])
        _compare(_result_of(name, work, case.folder), expected["result"])
    return True


def _harm(rng, kind: str, expected: dict) -> Harm:
    """Draws what befalls the command."""
    harm = Harm()
    if kind == "operation":
        harm.operation = int(rng.integers(1, expected["operations"] + 1))
    elif kind == "file limit":
        harm.file_limit = int(2 ** rng.uniform(0, 22))
    elif kind != "full disk":
        harm.seconds = rng.uniform(0, expected["seconds"])
        harm.signal = getattr(signal, kind, signal.SIGKILL)
    return harm


@contextlib.contextmanager
def _small_disk(folder: pathlib.Path):
    """Mounts a file system in memory, where that may be done."""
    folder.mkdir()
    mount = shutil.which("mount", path=_SYSTEM)
    done = subprocess.run(
        [mount, "-t", "tmpfs", "-o", "size=1g", "none", folder],
        capture_output=True,
    )
    if done.returncode:
        yield folder
        return
    try:
        yield folder
    finally:
        subprocess.run([shutil.which("umount", path=_SYSTEM), folder])


def _resize(disk: pathlib.Path, size: int) -> None:
    if disk.is_mount():
        mount = shutil.which("mount", path=_SYSTEM)
        options = f"remount,size={size}"
        subprocess.run([mount, "-o", options, disk], check=True)


def _bytes_of(folder: pathlib.Path) -> int:
    """Returns the room that a folder takes, in pages."""
    return sum(-(-p.stat().st_size // 4096) * 4096 for p in folder.rglob("*"))


def _judge(ended: Ended, kind: str, work: pathlib.Path) -> bool:
    """Checks how a command was stopped; returns whether it was."""
    if not ended.code or "is there already" in ended.text:
        return False  # It was sooner, or an export had ended before.
    codes = {"SIGINT": 130, "SIGTERM": 143, "file limit": 1, "full disk": 1}
    if ended.code != codes.get(kind, -signal.SIGKILL):
        raise Fault("exit code", f"{ended.code}: {ended.text[-1500:]}")
    if kind in codes:
        if "Traceback" in _NOISE.sub("", ended.text):
            raise Fault("traceback", ended.text[-1500:])
        message = "stopped" if kind.startswith("SIG") else "error: "
        # It may stand behind a bar of progress.
        if message not in ended.text.strip().splitlines()[-1]:
            raise Fault("message", ended.text[-1500:])
        if left := leftovers(work):
            raise Fault("left over", str(left))
    return True


def leftovers(folder: pathlib.Path) -> list[pathlib.Path]:
    """Returns what was being written."""
    return [p for p in folder.rglob("*") if p.name.startswith(".tmp-")]


def check_state(folder: pathlib.Path) -> None:
    """Checks that all files that have their names are whole."""
    halves = leftovers(folder)
    for path in sorted(folder.rglob("*")):
        if path.is_dir() or {path, *path.parents} & {*halves}:
            continue
        try:
            if path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".keras":
                _digest_of_weights(path)
            elif path.suffix == ".array_record":
                ShardReader(str(path)).verify()
            elif path.name == checksums.FILE_NAME:
                _check_digests(path.parent)
        except (ValueError, OSError, UserError, zipfile.BadZipFile) as error:
            raise Fault("half a file", f"{path.name}: {error}") from error


def _check_digests(folder: pathlib.Path) -> None:
    listed = checksums.read(folder, "")
    there = [name for name in listed if (folder / name).exists()]
    checksums.check(folder, there, "")


def _result_of(name: str, work: pathlib.Path, scratch: pathlib.Path) -> dict:
    """Returns the digests of what a command wrote, by name.

    Of models those of their weights: Keras writes the date beside them. Not
    of events for TensorBoard, which tell of stops, nor of locks. TensorFlow
    writes the same SavedModel in many ways: its captions are compared.
    """
    result = {}
    for path in sorted(work.rglob("*")):
        key = str(path.relative_to(work))
        if path.is_dir() or "tensorboard" in key or path.suffix == ".lock":
            continue
        if path.suffix == ".keras":
            result[key] = _digest_of_weights(path)
        elif path.name in (".lock", checksums.FILE_NAME):
            continue
        elif key.startswith("scenes/1/"):
            result[key] = ""
        else:
            result[key] = hashlib.sha256(path.read_bytes()).hexdigest()
    if PHASES[name].model:
        result["captions"] = _captions(work / PHASES[name].model, scratch)
    return result


def _captions(model: pathlib.Path, scratch: pathlib.Path) -> str:
    """Returns what a captioner says of a photo, and how likely it finds it."""
    photo, captions = scratch / "photo.png", scratch / "captions.csv"
    photo.write_bytes(load_scenes(0, 0, 1, 0).images[0].read())
    command = ("show_attend_tell.caption", f"--model={model}", str(photo))
    command += (f"--output={captions}",)
    ended = run(command, scratch, (), scratch / "output")
    if ended.code:
        raise Fault("captions", ended.text[-1500:])
    return captions.read_text().replace(str(photo), "")


def _digest_of_weights(path: pathlib.Path) -> str:
    digest = hashlib.sha256()

    def add(name, item):
        if isinstance(item, h5py.Dataset):
            digest.update(name.encode() + item[()].tobytes())

    with zipfile.ZipFile(path) as archive:
        damaged = archive.testzip()
        if damaged:
            raise zipfile.BadZipFile(damaged)
        weights = io.BytesIO(archive.read("model.weights.h5"))
    with h5py.File(weights) as file:
        file.visititems(add)
    return digest.hexdigest()


def _compare(result: dict, expected: dict) -> None:
    """Checks that the same came of it, and no more."""
    names = {*result} ^ {*expected}
    if names:
        raise Fault("other files", str(sorted(names)))
    others = [name for name in result if result[name] != expected[name]]
    if others:
        raise Fault("other results", str(others))
