"""A run: from a configuration to a captioner with its scores.

A run may be stopped at any moment and started again by the same command. It
goes on from its last checkpoint and ends with the same figures: the order of
batches and all randomness follow from the seed and the step, and a checkpoint
holds all else (weights, optimizer).
"""

import os
import platform
import resource
import sys
import time

import keras
import numpy as np
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.files import locked, read_json, write_json
from show_attend_tell.configs.run_config import FILE_NAME, RunConfig
from show_attend_tell.evaluation.split_evaluation import (
    SplitEvaluation,
    evaluate_run,
    format_evaluation,
    write_evaluation,
)
from show_attend_tell.inference.attention_figure import (
    contact_sheet,
    save_picture,
)
from show_attend_tell.inference.model_files import check_vocabulary
from show_attend_tell.training import checkpoints
from show_attend_tell.training.build import (
    build_trainer,
    fit_annotation_scale,
    some_annotations,
)
from show_attend_tell.training.callbacks import EndAfterEpoch, SaveByTime
from show_attend_tell.training.data import Data, make_batches, prepare_data
from show_attend_tell.training.distribution import (
    check_batch_size,
    make_strategy,
)
from show_attend_tell.training.summaries import Summaries
from show_attend_tell.training.train_step import CaptionerTrainer
from show_attend_tell.training.validation import Validation, render
from show_attend_tell.training.warm_start import check_start, start_from

VERSIONS_FILE = "versions.json"


def train(config: RunConfig, workdir: str) -> dict:
    """Runs everything: annotations, vocabulary, training, scores, pictures.

    Args:
        config: The configuration.
        workdir: The folder of the run; one of a stopped run goes on.

    Returns:
        The content of `scores.json`: `split`, the scores of that split, and
        under the name of another split that one's.

    Raises:
        UserError: Something that the user gave cannot be used.
    """
    started = time.monotonic()
    os.makedirs(workdir, exist_ok=True)
    if config.training.warm_start and not checkpoints.has_checkpoint(workdir):
        check_start(config, workdir)
    busy = (
        f"Another training is writing to {workdir!r}. Wait until it ends, or "
        "choose another --workdir."
    )
    with locked(workdir, busy):
        _claim(workdir, config)
        keras.utils.set_random_seed(config.training.seed)
        data = prepare_data(config, workdir)
        Run(config, workdir, data).train()
        scores = _final_scores(config, workdir)
    minutes = (time.monotonic() - started) / 60
    memory = _peak_memory()
    print(f"\n{minutes:.1f} minutes, {memory} of memory; see {workdir}")
    return scores


class Run:
    """The training of one run.

    Args:
        config: The configuration.
        workdir: The folder of the run.
        data: Its data.
    """

    def __init__(self, config: RunConfig, workdir: str, data: Data):
        self.config, self.workdir, self.data = config, workdir, data
        self.batches = make_batches(config, data)
        self.steps_per_epoch = self.batches.steps()
        strategy = make_strategy(config.training.strategy)
        check_batch_size(self.batches, strategy.num_replicas_in_sync)
        with strategy.scope():
            self.trainer = self._load_or_build()
        self.trainer.objective.adapt(
            [x.captions for x in self.batches.examples]
        )
        self.validation = Validation(
            config, workdir, data, self.trainer.captioner, self._epochs_done()
        )
        self.summaries = Summaries(os.path.join(workdir, "tensorboard"))

    def _load_or_build(self) -> CaptionerTrainer:
        if checkpoints.has_checkpoint(self.workdir):
            trainer = checkpoints.load_checkpoint(self.workdir)
            path = os.path.join(self.workdir, checkpoints.CHECKPOINT_FILE)
            check_vocabulary(trainer.captioner, self.data.vocabulary, path)
            print(f"goes on from step {trainer.steps_taken()} of {path}")
            return trainer
        trainer = build_trainer(self.config, self.data, self.steps_per_epoch)
        if self.config.training.warm_start:
            self._warm_start(trainer)
        elif not self.config.model.annotation_scale:
            fit_annotation_scale(trainer.captioner, some_annotations(self.data))
        return trainer

    def _warm_start(self, trainer: CaptionerTrainer) -> None:
        digest = start_from(
            self.config.training.warm_start,
            trainer.captioner,
            self.data.vocabulary,
        )
        path = os.path.join(self.workdir, VERSIONS_FILE)
        write_json(path, {**read_json(path), "warm_start": digest})
        # From here on nothing depends on the folder of that model.
        checkpoints.save_checkpoint(trainer, self.workdir)

    def _epochs_done(self) -> int:
        return self.trainer.steps_taken() // self.steps_per_epoch

    def train(self) -> None:
        """Trains epoch by epoch until the last, or until scores stagnate."""
        first = self._epochs_done()
        scored = self.validation.last_epoch
        if scored is None:  # A warm start is scored as epoch 0.
            scored = -1 if self.config.training.warm_start else 0
        if first > scored:  # The run was stopped before this was scored.
            self._validate(first)
        for epoch in range(first, self.config.training.epochs):
            if self.validation.is_over():
                break
            self.train_epoch(epoch)
            self._validate(epoch + 1)

    def train_epoch(self, epoch: int) -> None:
        """Trains an epoch, or the rest of it, and writes a checkpoint.

        Args:
            epoch: From 0 on.
        """
        training, trainer = self.config.training, self.trainer
        first = epoch * self.steps_per_epoch
        start = trainer.steps_taken() - first
        trainer.set_random_state(training.seed, first + start, first)
        trainer.objective.set_progress(epoch, training.epochs)
        trainer.update_encoder()
        history = trainer.fit(
            self.batches.epoch(epoch, start),
            initial_epoch=epoch,
            epochs=training.epochs,
            steps_per_epoch=self.steps_per_epoch - start,
            callbacks=[
                SaveByTime(self.save, training.checkpoint_minutes),
                EndAfterEpoch(),
            ],
        ).history
        self.save()
        means = {f"train/{name}": x[-1] for name, x in history.items()}
        self.summaries.scalars(means, trainer.steps_taken())

    def save(self) -> None:
        """Writes the checkpoint."""
        checkpoints.save_checkpoint(self.trainer, self.workdir)

    def _validate(self, epoch: int) -> None:
        """Scores the captioner, averaged weights in place, and writes it."""
        captioner = self.trainer.captioner
        with self.trainer.averaged_weights():
            scores, captions, is_best = self.validation.score()
            if is_best:
                checkpoints.save_best(captioner, self.workdir)
            keep = self.config.training.keep_epochs
            checkpoints.keep_epoch(captioner, self.workdir, epoch, keep)
        self.validation.append(epoch, scores)
        self.validation.summarize(
            self.summaries, self.trainer.steps_taken(), scores, captions
        )


def _claim(workdir: str, config: RunConfig) -> None:
    """Writes the configuration, or checks that it is the one there."""
    if os.path.exists(os.path.join(workdir, FILE_NAME)):
        changed = RunConfig.load(workdir).differences(config)
        if changed:
            raise UserError(
                f"{workdir} holds a run with other settings: "
                f"{', '.join(changed.values())}. Give the same flags to go "
                "on with it, or another --workdir."
            )
        return
    config.save(workdir)
    versions = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": str(os.cpu_count()),
    }
    write_json(os.path.join(workdir, VERSIONS_FILE), versions)


def _final_scores(config: RunConfig, workdir: str) -> dict:
    """Scores the best model on what it was not chosen on."""
    evaluated = evaluate_run(config, workdir, (), config.decoding)
    for evaluation in evaluated:
        print(f"\n{format_evaluation(evaluation)}")
    _write_pictures(evaluated[0], workdir, config.training.pictures)
    return write_evaluation(workdir, evaluated, config.decoding)


def _write_pictures(
    evaluation: SplitEvaluation, workdir: str, count: int
) -> None:
    """Writes pictures of attention, and one with all of them."""
    folder = os.path.join(workdir, "pictures")
    chosen = zip(evaluation.images, evaluation.captions, strict=True)
    pictures, titles = [], []
    for image, caption in list(chosen)[:count]:
        if caption.words:
            name = os.path.splitext(os.path.basename(image.id))[0]
            pictures.append(render(image, caption))
            titles.append(f"{name}: {caption.text}")
            save_picture(pictures[-1], os.path.join(folder, f"{name}.png"))
    if pictures:
        sheet = contact_sheet(pictures, titles)
        save_picture(sheet, os.path.join(workdir, "contact_sheet.png"))
    print(f"pictures of attention: {folder}")


def _peak_memory() -> str:
    """Returns the most memory that this process has held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 2**10  # macOS counts bytes
    return f"{peak * unit / 1e9:.1f} GB"
