"""A run: from a configuration to a captioner with its scores.

A run may be stopped at any moment and started again by the same command. It
goes on from its last checkpoint and ends with the same figures: the order of
batches and all randomness follow from the seed and the step, and a checkpoint
holds all else (weights, optimizer).
"""

import os
import resource
import sys
import time

import keras

from pipelines.checksums import write_json
from pipelines.errors import UserError
from pipelines.files import locked, read_json
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.history import HISTORY_FILE
from show_attend_tell.evaluation.score_files import write_evaluation
from show_attend_tell.evaluation.split_evaluation import (
    SplitEvaluation,
    evaluate_run,
    format_evaluation,
)
from show_attend_tell.inference.attention_figure import (
    contact_sheet,
    save_picture,
)
from show_attend_tell.inference.model_files import (
    MODEL_FILE,
    check_vocabulary,
    load_model,
)
from show_attend_tell.training.build import build_trainer, fit_annotation_scale
from show_attend_tell.training.callbacks import EndAfterEpoch, SaveByTime
from show_attend_tell.training.checkpoints import (
    CHECKPOINT_FILE,
    keep_epoch,
    save_model,
)
from show_attend_tell.training.data import Data, make_batches, prepare_data
from show_attend_tell.training.distribution import (
    check_batch_size,
    make_strategy,
)
from show_attend_tell.training.supervision import coverage_of_samples
from show_attend_tell.training.train_step import CaptionerTrainer
from show_attend_tell.training.validation import Validation, render
from show_attend_tell.training.warm_start import check_start, start_from
from show_attend_tell.training.workdir import (
    VERSIONS_FILE,
    check_workdir,
    claim,
)


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
    begun = os.path.exists(os.path.join(workdir, CHECKPOINT_FILE))
    if config.training.warm_start and not begun:
        check_start(config, workdir)
    busy = (
        f"Another training is writing to {workdir!r}. Wait until it ends, or "
        "choose another --workdir."
    )
    with locked(workdir, busy):
        check_workdir(workdir, config)
        keras.utils.set_random_seed(config.training.seed)
        data = prepare_data(config, workdir)
        claim(workdir, config)
        Run(config, workdir, data).train()
        scores = _final_scores(config, workdir)
    minutes = (time.monotonic() - started) / 60
    memory = _peak_memory()
    print(f"\n{minutes:.1f} minutes, {memory} of memory; see {workdir}")
    return scores


class Run:
    """The training of one run, from its last checkpoint on."""

    def __init__(self, config: RunConfig, workdir: str, data: Data):
        self.config, self.workdir, self.data = config, workdir, data
        self.batches = make_batches(config, data)
        self.steps_per_epoch = self.batches.steps()
        strategy = make_strategy(config.training.strategy)
        check_batch_size(self.batches, strategy.num_replicas_in_sync)
        with strategy.scope():
            self.trainer = self._load_or_build()
        captions = [example.captions for example in self.batches.examples]
        self.trainer.objective.adapt(captions)
        if config.objective.attention_supervision:
            cover = coverage_of_samples(
                data.splits["train"], data.vocabulary, data.boxes, data.grid
            )
            self.trainer.objective.supervise(cover)
        self.validation = Validation(
            config, workdir, data, self.trainer.captioner, self._epochs_done()
        )

    def _load_or_build(self) -> CaptionerTrainer:
        path = os.path.join(self.workdir, CHECKPOINT_FILE)
        if os.path.exists(path):
            trainer = load_model(path, CaptionerTrainer)
            check_vocabulary(trainer.captioner, self.data.vocabulary, path)
            print(f"goes on from step {trainer.steps_taken()} of {path}")
            return trainer
        trainer = build_trainer(self.config, self.data, self.steps_per_epoch)
        captioner, start = trainer.captioner, self.config.training.warm_start
        if start:
            digest = start_from(start, captioner, self.data.vocabulary)
            versions = read_json(os.path.join(self.workdir, VERSIONS_FILE))
            versions["warm_start"] = digest
            write_json(self.workdir, VERSIONS_FILE, versions)
            # From here on nothing depends on the folder of that model.
            save_model(trainer, self.workdir, CHECKPOINT_FILE)
        elif not self.config.model.annotation_scale:
            fit_annotation_scale(captioner, self.data)
        return trainer

    def _epochs_done(self) -> int:
        return self.trainer.steps_taken() // self.steps_per_epoch

    def train(self) -> None:
        """Trains epoch by epoch until the last, or until scores stagnate."""
        first = self._epochs_done()
        scored = self.validation.last_epoch
        if scored is None:  # A warm start is scored as epoch 0.
            scored = -1 if self.config.training.warm_start else 0
        self._check_scored(first, scored)
        if first > scored:  # The run was stopped before this was scored.
            self._validate(first)
        for epoch in range(first, self.config.training.epochs):
            if self.validation.is_over():
                break
            self.train_epoch(epoch)
            self._validate(epoch + 1)

    def _check_scored(self, done: int, scored: int) -> None:
        """Checks that no scores were lost, nor the model that they chose."""
        begun = self.trainer.steps_taken() > done * self.steps_per_epoch
        path = os.path.join(self.workdir, MODEL_FILE)
        has_best = self.validation.last_epoch is None or os.path.exists(path)
        # An epoch is scored before the next one begins.
        if done - scored > (0 if begun else 1) or not has_best:
            if has_best:
                path = os.path.join(self.workdir, HISTORY_FILE)
            raise UserError(
                f"Expected {path} of the {done} epochs that were trained. "
                "Received: none, or one that ends earlier. Put the file of "
                "that run back, or choose another --workdir."
            )

    def train_epoch(self, epoch: int) -> None:
        """Trains an epoch, from 0 on, or the rest of it, and saves."""
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
        means = {name: values[-1] for name, values in history.items()}
        self.validation.summarize("train", means, trainer.steps_taken())

    def save(self) -> None:
        """Writes the checkpoint."""
        save_model(self.trainer, self.workdir, CHECKPOINT_FILE)

    def _validate(self, epoch: int) -> None:
        """Scores the captioner, averaged weights in place, and writes it."""
        captioner = self.trainer.captioner
        with self.trainer.averaged_weights():
            scores, captions = self.validation.score()
            if self.validation.is_best(scores):
                save_model(captioner, self.workdir, MODEL_FILE)
            keep = self.config.training.keep_epochs
            keep_epoch(captioner, self.workdir, epoch, keep)
        step = self.trainer.steps_taken()
        self.validation.report(epoch, step, scores, captions)


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
