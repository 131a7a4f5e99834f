"""Runs commands in forks of a process that has imported TensorFlow, to harm.

Imports take longer than a tiny run. A fork is sound as long as the process
itself has run no operation: TensorFlow starts its threads at the first.
"""

import dataclasses
import functools
import importlib
import os
import pathlib
import resource
import runpy
import select
import shutil
import signal
import sys
import time
import traceback

from tests.faults.campaign import Fault

_OPERATIONS = ("os.rename", "os.link", "os.remove", "os.mkdir", "os.rmdir")
_WRITES = os.O_WRONLY | os.O_RDWR | os.O_CREAT
_LONGEST = 400  # Seconds of a command.
_PARTING = 10  # Seconds that its processes may outlive it.
_ENTERED, _LEFT, _OPERATION = b"><."


@dataclasses.dataclass
class Harm:
    """What befalls a command, within the functions of its phase.

    Attributes:
        signal: Comes after so many `seconds` of the phase.
        seconds: As above.
        operation: SIGKILL comes before this operation on files.
        file_limit: The most bytes that a file may have from then on.
        snapshot: Where `folder` is copied to as the phase begins.
    """

    signal: int = signal.SIGKILL
    seconds: float | None = None
    operation: int | None = None
    file_limit: int | None = None
    snapshot: pathlib.Path | None = None


@dataclasses.dataclass
class Ended:
    """How a command ended.

    Attributes:
        code: The exit code; or, negative, the signal that ended it.
        text: What it printed.
        seconds: How long its phase took.
        operations: How many operations on files its phase had.
        mebibytes: The most memory that it held.
    """

    code: int
    text: str
    seconds: float
    operations: int
    mebibytes: float


def run(command, folder, phase, output, harm: Harm | None = None) -> Ended:
    """Runs a command that writes below a folder, and waits for its end.

    Args:
        command: A module, and its arguments.
        folder: Where it writes.
        phase: Names of functions, `module:name`, whose calls are the phase.
        output: The file for what it prints.
        harm: What befalls it.

    Raises:
        Fault: It hangs, or processes that it started outlive it.
    """
    harm = harm or Harm()
    ours, theirs = os.pipe()
    process = os.fork()
    if not process:
        code = 70
        try:
            os.setsid()
            _redirect(output)
            _watch(theirs, os.fspath(folder), phase, harm)
            code = _call(*command)
        finally:
            os._exit(code)
    os.close(theirs)
    try:
        seconds, operations, hangs = _follow(ours, process, harm)
    finally:
        os.close(ours)
        left = _end_session(process)
    _, status, usage = os.wait4(process, 0)
    code = os.waitstatus_to_exitcode(status)
    text = output.read_text(errors="replace")
    if hangs or left:
        raise Fault("hang" if hangs else "orphans", f"{left} {text[-400:]}")
    return Ended(code, text, seconds, operations, usage.ru_maxrss / 1024)


def _redirect(output: pathlib.Path) -> None:
    descriptor = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    sys.stdout = open(1, "w", closefd=False)
    sys.stderr = open(2, "w", closefd=False, buffering=1)


def _call(module: str, *arguments: str) -> int:
    """Runs a module as `python -m` does; returns the exit code."""
    sys.argv = [module, *arguments]
    try:
        runpy.run_module(module, None, "__main__")
    except SystemExit as ended:
        sys.stdout.flush()
        return ended.code or 0
    except BaseException:
        traceback.print_exc()
        return 1
    return 0


def _watch(pipe: int, folder: str, phase, harm: Harm) -> None:
    """Reports the phase and its operations on files, and harms by them."""
    inside, begun, operations = 0, False, 0

    def operate():
        nonlocal operations
        if inside:
            operations += 1
            if operations == harm.operation:
                os.kill(os.getpid(), signal.SIGKILL)
            os.write(pipe, bytes([_OPERATION]))

    def audit(event, arguments):
        is_write = event == "open" and arguments[2] & _WRITES
        if is_write or event in _OPERATIONS:
            path = arguments[0]
            if isinstance(path, str | os.PathLike):
                if os.fspath(path).startswith(folder):
                    operate()

    def enter():
        nonlocal inside, begun
        if not begun:
            begun = True
            _begin(folder, harm)
        inside += 1
        if inside == 1:
            os.write(pipe, bytes([_ENTERED]))

    def leave():
        nonlocal inside
        inside -= 1
        if not inside:
            os.write(pipe, bytes([_LEFT]))

    for name in phase:
        module, _, attribute = name.partition(":")
        *owner, attribute = attribute.split(".")
        holder = importlib.import_module(module)
        for part in owner:
            holder = getattr(holder, part)
        function = getattr(holder, attribute)
        setattr(holder, attribute, _wrapped(function, enter, leave))
    os.fsync = _wrapped(os.fsync, operate, lambda: None)
    sys.addaudithook(audit)


def _begin(folder: str, harm: Harm) -> None:
    if harm.snapshot:
        shutil.copytree(folder, harm.snapshot)
    if harm.file_limit is not None:
        limit = (harm.file_limit, resource.RLIM_INFINITY)
        resource.setrlimit(resource.RLIMIT_FSIZE, limit)


def _wrapped(function, before, after):
    @functools.wraps(function)
    def call(*arguments, **options):
        before()
        try:
            return function(*arguments, **options)
        finally:
            after()

    return call


def _follow(pipe: int, process: int, harm: Harm) -> tuple[float, int, bool]:
    """Waits for the end; returns the phase's length, operations, if it hangs.

    The signal is sent when its time has come.
    """
    end = time.monotonic() + _LONGEST
    entered, passed, operations, due = None, 0.0, 0, harm.seconds
    while True:
        now = time.monotonic()
        wait = end - now
        if entered is not None and due is not None:
            wait = min(wait, entered + due - passed - now)
        if select.select([pipe], [], [], max(wait, 0))[0]:
            report = os.read(pipe, 1)
            if not report:
                return passed, operations, False
            if report[0] == _ENTERED:
                entered = time.monotonic()
            elif report[0] == _LEFT:
                passed, entered = passed + time.monotonic() - entered, None
            else:
                operations += 1
        elif time.monotonic() >= end:
            return passed, operations, True
        else:
            os.kill(process, harm.signal)
            due = None


def _end_session(session: int) -> list[str]:
    """Waits until no process of a session runs; kills and returns the rest."""
    end = time.monotonic() + _PARTING
    while (running := _running(session)) and time.monotonic() < end:
        time.sleep(0.02)
    for process in running:
        os.kill(process, signal.SIGKILL)
    return list(running.values())


def _running(session: int) -> dict[int, str]:
    """Returns the processes of a session, by number, and their commands."""
    processes = {}
    for entry in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            fields = (entry / "stat").read_text().rpartition(")")[2].split()
            command = (entry / "cmdline").read_text()
        except OSError:
            continue  # It has just ended.
        if int(fields[3]) == session and fields[0] not in "ZX":
            processes[int(entry.name)] = command.replace("\0", " ")
    return processes
