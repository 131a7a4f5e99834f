"""Runs a campaign: many seeded cases, in processes with limits.

A campaign is a module of this folder with

    ATTACK: What is attacked, for the table.
    LIMITS: A `Limits`.
    prepare(folder): Makes what all cases start from, once.
    start(folder): Loads that in a worker, and returns a function that tries a
        `Case`: it names the `attack`, raises a `Fault` where something was
        lost, and returns whether the input was taken (or else refused).

A case follows from the seed and its number alone. A worker tries hundreds of
them; one that crashes or hangs is replaced, and the case is a fault.
"""

import collections
import contextlib
import dataclasses
import importlib
import multiprocessing
import multiprocessing.connection
import os
import pathlib
import re
import resource
import tempfile
import time
import traceback

import numpy as np

MIB = 2**20

# An environment variable: the phase of a run that kills are tried in.
PHASE = "FAULTS_PHASE"

# Beyond its limit of time, a case has so many times as long, because other
# work may be on the machine; then its worker is killed.
_PATIENCE = 8
_SECONDS_TO_START = 600


@dataclasses.dataclass(frozen=True)
class Limits:
    """What one input may cost.

    Attributes:
        seconds: Of a processor.
        mebibytes: Of memory, beyond what the process held before.
        ceiling: Mebibytes of address space that a worker may take on top of
            what it has once it is loaded: no case may harm the machine.
    """

    seconds: float = 5.0
    mebibytes: int = 1024
    ceiling: int = 6144


class Fault(Exception):
    """What was lost: a `kind` of fault, and how it showed."""

    def __init__(self, kind: str, detail: str):
        super().__init__(f"{kind}: {detail}")
        self.kind, self.detail = kind, detail


@dataclasses.dataclass
class Case:
    """One attack.

    Attributes:
        number: Of the case; with the seed it gives `rng`.
        rng: The source of all that is random in it.
        folder: An empty folder, removed afterwards.
        attack: A name for this kind of attack.
        inputs: How many inputs the case tries.
        seconds: The longest time that an input took.
        mebibytes: The most memory that an input took.
    """

    number: int
    rng: np.random.Generator
    folder: pathlib.Path
    attack: str = "?"
    inputs: int = 1
    seconds: float = 0.0
    mebibytes: float = 0.0

    @contextlib.contextmanager
    def measured(self):
        """Measures the code under test, and not the oracle."""
        pathlib.Path("/proc/self/clear_refs").write_text("5")
        before = _memory("VmRSS")
        wall, processor = time.monotonic(), time.process_time()
        try:
            yield
        finally:
            # The lesser of both: other work on the machine does not count,
            # nor that several threads work at once.
            elapsed = time.monotonic() - wall, time.process_time() - processor
            self.seconds = max(self.seconds, min(elapsed))
            self.mebibytes = max(self.mebibytes, _memory("VmHWM") - before)


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What came of a case; `fault` is None where all was right."""

    number: int
    attack: str
    inputs: int = 1
    taken: bool = False
    fault: str | None = None
    seconds: float = 0.0
    mebibytes: float = 0.0


@dataclasses.dataclass
class Result:
    """What came of a campaign."""

    name: str
    attack: str
    seed: int
    outcomes: list[Outcome]

    @property
    def inputs(self) -> int:
        return sum(one.inputs for one in self.outcomes)

    @property
    def faults(self) -> list[Outcome]:
        return [one for one in self.outcomes if one.fault]

    def command(self, first: int | None = None, count: int | None = None):
        """Returns the command that tries cases again, by default all."""
        first = self.outcomes[0].number if first is None else first
        count = len(self.outcomes) if count is None else count
        start = f" --first={first}" if first else ""
        if phase := os.environ.get(PHASE):
            start += f" --phase={phase}"
        return (
            f"python -m tests.faults {self.name} --count={count} "
            f"--seed={self.seed}{start}"
        )

    def row(self) -> str:
        """Returns the row of the table in docs/results/faults.md."""
        lost = sum(one.inputs for one in self.faults)
        memory = max((one.mebibytes for one in self.outcomes), default=0)
        seconds = max((one.seconds for one in self.outcomes), default=0)
        return (
            f"| {self.attack} | {self.inputs:,} | {self.inputs - lost:,} | "
            f"{memory:,.0f} MiB | {seconds:.1f} s | {self.seed} | "
            f"`{self.command()}` |"
        )

    def lines(self) -> list[str]:
        """Returns what was tried, what was refused, and every fault."""
        kinds = collections.defaultdict(list)
        for one in self.outcomes:
            kinds[one.attack].append(one)
        lines = []
        for attack, tried in sorted(kinds.items()):
            taken = sum(one.taken for one in tried)
            lost = sum(one.fault is not None for one in tried)
            slowest = max(one.seconds for one in tried)
            memory = max(one.mebibytes for one in tried)
            lines.append(
                f"{attack}: {len(tried)} cases, {taken} taken, "
                f"{len(tried) - taken - lost} refused, {lost} faults; "
                f"{slowest:.2f} s, {memory:.0f} MiB"
            )
        for one in self.faults:
            lines.append(f"FAULT {one.attack}: {one.fault}")
            lines.append(f"  {self.command(one.number, 1)}")
        return lines


def run(
    name: str,
    count: int,
    seed: int,
    first: int = 0,
    workers: int = 2,
    corpus: str | os.PathLike | None = None,
) -> Result:
    """Tries the cases from `first` on.

    `corpus` is a folder for what cases start from, kept and taken again; by
    default it is made anew and removed.
    """
    module = importlib.import_module(f"tests.faults.{name}")
    with tempfile.TemporaryDirectory(prefix="faults-") as scratch:
        folder = pathlib.Path(corpus or scratch) / name
        folder.mkdir(parents=True, exist_ok=True)
        _in_a_process(_prepare, name, folder)
        numbers = collections.deque(range(first, first + count))
        pool = [
            Worker(module, folder, seed, pathlib.Path(scratch) / f"worker{n}")
            for n in range(min(workers, count))
        ]
        try:
            outcomes = list(_distribute(pool, numbers))
        finally:
            for worker in pool:
                worker.stop()
    outcomes.sort(key=lambda one: one.number)
    return Result(name, module.ATTACK, seed, outcomes)


def _distribute(pool, numbers):
    """Gives every worker case after case; yields what came of each."""
    for worker in pool:
        worker.give(numbers)
    while busy := [worker for worker in pool if worker.busy]:
        wait = max(0.0, min(worker.deadline for worker in busy) - _now())
        handles = [worker.connection for worker in busy]
        multiprocessing.connection.wait(handles, wait)
        for worker in busy:
            outcome = worker.take()
            if outcome:
                yield outcome
                worker.give(numbers)


class Worker:
    """A process that tries cases, replaced where one of them ends it."""

    def __init__(self, module, folder, seed, scratch):
        self.module, self.folder, self.seed = module, folder, seed
        self.scratch = scratch
        self.number = None
        scratch.mkdir()
        self._begin()

    @property
    def busy(self) -> bool:
        return self.number is not None

    def _begin(self):
        context = multiprocessing.get_context("spawn")
        self.connection, theirs = context.Pipe()
        name = self.module.__name__.rpartition(".")[2]
        arguments = (name, self.folder, self.seed, self.scratch, theirs)
        self.process = context.Process(target=_work, args=arguments)
        self.process.start()
        theirs.close()
        self.ready = False

    def give(self, numbers):
        """Gives the next case, if one is left."""
        self.number = numbers.popleft() if numbers else None
        if self.busy:
            with contextlib.suppress(OSError):  # It has just died.
                self.connection.send(self.number)
            self._wait_for(self.ready)

    def _wait_for(self, ready):
        self.ready = ready
        patience = _PATIENCE * self.module.LIMITS.seconds
        self.deadline = _now() + (patience if ready else _SECONDS_TO_START)

    def take(self) -> Outcome | None:
        """Returns what came of the case, if that is decided."""
        try:
            if self.connection.poll():
                message = self.connection.recv()
                if message is None:  # It has loaded everything.
                    self._wait_for(True)
                    return None
                return message
        except (EOFError, OSError):
            self.process.join()
            return self._replace(f"crash: exit code {self.process.exitcode}")
        if _now() < self.deadline:
            return None
        return self._replace("hang")

    def _replace(self, fault) -> Outcome:
        self._end()
        output = (self.scratch / "output").read_bytes()[-600:]
        attack = self.scratch / "attack"
        if not self.ready:
            raise RuntimeError(f"{fault}, before any case: {output.decode()}")
        lines = output.decode(errors="replace").strip()
        name = attack.read_text() if attack.exists() else "?"
        outcome = Outcome(self.number, name, fault=f"{fault}: {lines}")
        self._begin()
        return outcome

    def _end(self):
        self.process.kill()
        self.process.join()
        self.connection.close()

    def stop(self):
        self._end()


def _now() -> float:
    return time.monotonic()


def _in_a_process(function, *arguments):
    """Calls a function in a process of its own, which frees what it holds."""
    context = multiprocessing.get_context("spawn")
    process = context.Process(target=function, args=arguments)
    process.start()
    process.join()
    if process.exitcode:
        raise RuntimeError(f"{function.__name__}: {process.exitcode}")


def _prepare(name, folder):
    importlib.import_module(f"tests.faults.{name}").prepare(folder)


def _work(name, folder, seed, scratch, connection):
    """Tries the cases whose numbers come, until the parent has gone."""
    output = os.open(scratch / "output", os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    os.dup2(output, 1)
    os.dup2(output, 2)
    module = importlib.import_module(f"tests.faults.{name}")
    try_case = module.start(folder)
    limit = int((_memory("VmSize") + module.LIMITS.ceiling) * MIB)
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    connection.send(None)
    with contextlib.suppress(EOFError):
        while True:
            number = connection.recv()
            connection.send(_outcome(module, try_case, seed, scratch, number))
            os.ftruncate(output, 0)
            os.lseek(output, 0, os.SEEK_SET)


def _outcome(module, try_case, seed, scratch, number) -> Outcome:
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        case = _Noted(
            number, np.random.default_rng([seed, number]), pathlib.Path(folder)
        )
        case.file = scratch / "attack"
        taken, fault = False, None
        try:
            taken = bool(try_case(case))
            fault = _over_the_limits(case, module.LIMITS)
        except Fault as error:
            fault = str(error)
        except BaseException:
            fault = f"traceback: {traceback.format_exc(limit=-6)}"
    return Outcome(
        number, case.attack, case.inputs, taken, fault, case.seconds,
        case.mebibytes,
    )  # fmt: skip


class _Noted(Case):
    """A case that notes its attack in a file, which outlives a crash."""

    file = None

    def __setattr__(self, name, value):
        super().__setattr__(name, value)
        if name == "attack" and self.file:
            self.file.write_text(value)


def _over_the_limits(case, limits) -> str | None:
    if case.seconds > limits.seconds:
        return f"slow: {case.seconds:.1f} s"
    if case.mebibytes > limits.mebibytes:
        return f"memory: {case.mebibytes:.0f} MiB"
    return None


def _memory(field: str) -> float:
    """Returns a field of this process's memory, in MiB."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(re.search(rf"{field}:\s+(\d+)", status)[1]) / 1024
