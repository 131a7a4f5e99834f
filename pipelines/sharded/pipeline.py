"""Runs work on shards as an Apache Beam pipeline, on whatever runner.

A shard is one element, and is finished when its file is there under its
name. A runner may try a shard again, or two times at once; a stopped run is
taken up by the same command. Errors of images are part of what is written,
so that no image can end a run.
"""

import abc
import dataclasses
import json
import logging
from collections.abc import Iterator, Sequence
from typing import Any

import apache_beam as beam
from apache_beam.io.filesystems import FileSystems
from apache_beam.metrics import Metrics
from apache_beam.options.pipeline_options import (
    PipelineOptions,
    StandardOptions,
)
from apache_beam.utils.shared import Shared

from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.sharded.files import (
    join,
    read_file,
    remove_file,
    remove_halves,
    write_file,
)
from pipelines.sharded.images import Shard, Span, read_shard

ERRORS_FILE = "errors.jsonl"
SUMMARY_FILE = "summary.json"

# Beam's DirectRunner would download another runner.
_LOCAL_RUNNER = "FnApiRunner"


class ShardWork(abc.ABC):
    """What is done to every shard; it is pickled, and travels to workers."""

    directory: str

    @abc.abstractmethod
    def load(self) -> Any:
        """Returns what `run` needs, such as a network; once a process."""

    @abc.abstractmethod
    def finished(self, shard: Shard) -> list[Skipped] | None:
        """Returns what a finished shard skipped; `None` if it is not."""

    @abc.abstractmethod
    def run(self, tools: Any, shard: Shard) -> list[Skipped]:
        """Does a shard and writes it; returns the images that it skipped."""

    def end(self) -> None:
        """Is called when all shards are finished, where the run began."""
        return


@dataclasses.dataclass(frozen=True)
class Summary:
    """How many images a run had, how many were done, how many set aside."""

    images: int
    done: int
    skipped: int
    shards: int


def pipeline_options(arguments: Sequence[str]) -> PipelineOptions:
    """Reads flags of Beam and of its runner, by default this machine.

    File systems such as hdfs:// need them before they are used.
    """
    if arguments and not arguments[0].startswith("-"):
        raise UserError(
            "Expected flags, and after -- those of Beam. Received: "
            f"{arguments[0]!r}"
        )
    options = PipelineOptions(list(arguments))
    standard = options.view_as(StandardOptions)
    if standard.runner is None:
        standard.runner = _LOCAL_RUNNER
        # It logs every worker that comes and goes.
        logging.getLogger("apache_beam").setLevel(logging.WARNING)
    FileSystems.set_options(options)
    return options


def run_pipeline(
    work: ShardWork, spans: Sequence[Span], options: PipelineOptions
) -> Summary:
    """Does all shards that are not finished, and writes a summary.

    `errors.jsonl` names every image that was set aside, with the reason.
    """
    try:
        pipeline = beam.Pipeline(options=options)
    except ValueError as error:
        raise UserError(f"Beam does not take its options: {error}") from error
    # An earlier one would be taken for this run's.
    remove_file(join(work.directory, SUMMARY_FILE))
    with pipeline:
        (
            pipeline
            | "Shards" >> beam.Create(list(spans))
            | "Spread" >> beam.Reshuffle()
            | "Work" >> beam.ParDo(_WorkOnShard(work))
            | "Gather" >> beam.combiners.ToList()
            | "Summarize" >> beam.Map(_summarize, work.directory)
        )
    work.end()
    return Summary(**json.loads(read_file(join(work.directory, SUMMARY_FILE))))


class _WorkOnShard(beam.DoFn):
    """A shard -> its number, how many images it has, and those skipped."""

    def __init__(self, work: ShardWork):
        self._work = work
        self._tools = Shared()  # One network for all threads of a process.

    def process(self, span: Span) -> Iterator[tuple[int, int, list]]:
        shard = read_shard(self._work.directory, span)
        skipped = self._work.finished(shard)
        _count("shards_finished_before", skipped is not None)
        if skipped is None:
            tools = self._tools.acquire(self._work.load)
            skipped = self._work.run(tools, shard)
        _count("images", len(shard.images))
        _count("images_skipped", len(skipped))
        reasons = [(one.name, one.reason) for one in skipped]
        yield shard.number, len(shard.images), reasons


def _count(name: str, value: int) -> None:
    """Counts for whoever watches the runner."""
    Metrics.counter("show_attend_tell", name).inc(int(value))


def _summarize(done: list[tuple[int, int, list]], directory: str) -> None:
    skipped = [one for _, _, skipped in sorted(done) for one in skipped]
    images = sum(images for _, images, _ in done)
    lines = [
        json.dumps({"id": name, "error": reason}) + "\n"
        for name, reason in skipped
    ]
    summary = Summary(images, images - len(skipped), len(skipped), len(done))
    write_file(join(directory, ERRORS_FILE), "".join(lines).encode())
    remove_halves(directory)
    text = json.dumps(dataclasses.asdict(summary), indent=2) + "\n"
    write_file(join(directory, SUMMARY_FILE), text.encode())
