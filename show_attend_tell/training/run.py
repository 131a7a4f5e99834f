"""Training: from settings to a captioner with its scores.

A run may be stopped at any moment and started again by the same command. It
goes on from its last checkpoint and ends with the same figures: the order of
batches follows from the seed and the step, and a checkpoint holds all else
(weights, optimizer, random state).
"""

import dataclasses
import os
import platform
import random
import resource
import sys
import time

import keras
import numpy as np
import tensorflow as tf
from PIL import Image

from pipelines.batches import CaptionedAnnotation, TrainingBatches
from pipelines.captions import CaptionedImage
from pipelines.errors import UserError
from pipelines.files import (
    locked,
    read_json,
    write_atomically,
    write_json,
)
from pipelines.images.augmentation import Augmentation, can_mirror
from pipelines.images.decoding import decode_image
from pipelines.vocabulary import words_of
from show_attend_tell.configs.objective import ObjectiveConfig
from show_attend_tell.configs.run_config import FILE_NAME, RunConfig
from show_attend_tell.evaluation.curves import draw_curves
from show_attend_tell.evaluation.split_evaluation import (
    HISTORY_FILE,
    caption_split,
    evaluate_run,
    format_evaluation,
    quick_scores,
    write_evaluation,
)
from show_attend_tell.inference.attention_figure import (
    contact_sheet,
    save_picture,
)
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.model_files import (
    MODEL_FILE,
    check_vocabulary,
    load_model,
)
from show_attend_tell.metrics.cider import cider_d
from show_attend_tell.metrics.ngrams import match_words
from show_attend_tell.model import Captioner
from show_attend_tell.objectives.self_critical import SelfCritical
from show_attend_tell.training.data import Data, prepare_data
from show_attend_tell.training.summaries import Summaries
from show_attend_tell.training.warm_start import check_settings, take_weights

CHECKPOINT_FILE = "last.keras"
EPOCHS_FOLDER = "epochs"
VERSIONS_FILE = "versions.json"

# The images that tell how large annotations are.
_FITTED = 64


def train(config: RunConfig, workdir: str) -> dict:
    """Runs everything: annotations, words, training, scores, pictures.

    Args:
        config: The settings.
        workdir: The folder of the run; one of a stopped run goes on.

    Returns:
        What `scores.json` holds: `split`, the scores of that split, and
        under the name of another split that one's.

    Raises:
        UserError: Something that the user gave cannot be used.
    """
    started = time.monotonic()
    os.makedirs(workdir, exist_ok=True)
    busy = (
        f"Another training is writing to {workdir!r}. Wait until it ends, or "
        "choose another --workdir."
    )
    begun = os.path.exists(os.path.join(workdir, CHECKPOINT_FILE))
    if config.training.warm_start and not begun:
        check_settings(config, workdir)
    with locked(workdir, busy):
        _claim(workdir, config)
        keras.utils.set_random_seed(config.training.seed)
        data = prepare_data(config, workdir)
        _Run(config, workdir, data).train()
        scores = _final_scores(config, workdir)
    took = _minutes(time.monotonic() - started)
    print(f"\n{took} in all, {_peak_memory()} of memory; see {workdir}")
    return scores


def _claim(workdir: str, config: RunConfig) -> None:
    """Makes the folder this run's, or finds that it is."""
    path = os.path.join(workdir, FILE_NAME)
    if os.path.exists(path):
        changed = RunConfig.load(workdir).differences(config)
        if changed:
            raise UserError(
                f"{workdir} holds a run with other settings: "
                f"{', '.join(changed.values())}. Give the same flags to go on with "
                "it, or another --workdir."
            )
        return
    config.save(workdir)
    write_json(os.path.join(workdir, VERSIONS_FILE), _versions())


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": str(os.cpu_count()),
    }


def build_captioner(config: RunConfig, data: Data, steps: int = 0) -> Captioner:
    """Builds the model of the settings.

    Args:
        config: The settings.
        data: What it is trained on.
        steps: Of an epoch.
    """
    learning, encoder = {}, data.encoder
    if encoder is not None:
        if tf.distribute.has_strategy():
            encoder = _rebuilt(encoder)
        learning = {
            "encoder": encoder,
            "encoder_learning_rate_multiplier": config.encoder.learning_rate
            / config.training.learning_rate,
            "encoder_start": config.encoder.frozen_epochs * steps,
        }
    settings = {
        **dataclasses.asdict(config.model),
        **_objective_settings(config.objective),
        "ema": config.training.ema,
    }
    del settings["fused_decoder"]
    settings["annotation_scale"] = config.model.annotation_scale or 1.0
    captioner = Captioner(
        len(data.vocabulary),
        **settings,
        vocabulary_digest=data.vocabulary.digest,
        dtype=config.training.dtype_policy,
        **learning,
    )
    metadata = data.cache.metadata
    captioner.build(
        {
            "annotations": (None, metadata.locations, metadata.depth),
            "tokens": (None, None, None),
        }
    )
    return captioner


def _objective_settings(objective: ObjectiveConfig) -> dict:
    settings = {
        name: value
        for name, value in dataclasses.asdict(objective).items()
        if not name.startswith("reward_")
    }
    hard = settings.pop("name") == "hard_attention"
    return settings | {"attention": "hard" if hard else "soft"}


def _optimizer(config: RunConfig, steps: int) -> keras.optimizers.Optimizer:
    rate = config.training.learning_rate
    if config.training.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10,
            decay_steps=max(steps * 19 // 20, 1),
            warmup_target=rate,
            warmup_steps=max(steps // 20, 1),
        )
    kinds = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
    return kinds[config.training.optimizer](
        rate, global_clipnorm=config.training.clip_norm or None
    )


def strategy_of(config: RunConfig) -> tf.distribute.Strategy:
    """Returns what shares out the training among devices.

    That is nothing but TensorFlow's default where there is one alone.
    """
    if config.training.strategy == "none":
        return tf.distribute.get_strategy()
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    devices = tf.config.list_logical_devices(kind)
    print(f"trains on {len(devices)} {kind}{'s' * (len(devices) > 1)}")
    if len(devices) == 1:
        return tf.distribute.get_strategy()
    return tf.distribute.MirroredStrategy([x.name for x in devices])


def check_shares(batches: TrainingBatches, devices: int) -> None:
    """Checks that each device gets as many images of a batch.

    Raises:
        UserError: They do not divide evenly.
    """
    images, captions = batches.images_per_batch(), batches.captions_per_image()
    if images % devices:
        fits = captions * devices * max(1, round(images / devices))
        raise UserError(
            f"Expected a batch that {devices} devices can share. Received: "
            f"--batch_size={batches.batch_size}, which is {images} images of "
            f"{captions} captions. Give --batch_size={fits}"
        )


def _rebuilt(model: keras.Model) -> keras.Model:
    """Returns a copy whose weights are created where this is called.

    It draws no chance: whatever is drawn later is the same without it.
    """
    chance = random.getstate()  # Of the seeds that Keras gives initializers.
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(model)
    )
    copy.set_weights(model.get_weights())
    random.setstate(chance)
    return copy


def scheduled_share(config: RunConfig, epoch: int) -> float:
    """Returns how many previous words are drawn in an epoch, from 0 on.

    None in the first, growing evenly to all that the settings ask for in the
    last.
    """
    last = config.training.epochs - 1
    return config.objective.scheduled_sampling * (epoch / last if last else 1.0)


def _augmentation(config: RunConfig) -> Augmentation | None:
    kinds = dict.fromkeys(config.encoder.augmentations, True)
    return Augmentation(**kinds, seed=config.training.seed) if kinds else None


class _Run:
    """One training run and what it has reached."""

    def __init__(self, config: RunConfig, workdir: str, data: Data):
        self.config, self.workdir, self.data = config, workdir, data
        self.batches = TrainingBatches(
            data.cache,
            [
                CaptionedAnnotation(
                    data.cache.position(image.id),
                    tuple(data.vocabulary.encode(c) for c in image.captions),
                    can_mirror(image.captions),
                )
                for image in data.splits["train"]
            ],
            batch_size=config.data.batch_size,
            batching=config.data.batching,
            length_step=config.data.length_step,
            max_words=config.data.max_training_words,
            seed=config.training.seed,
            augmentation=_augmentation(config),
        )
        self.steps = self.batches.steps()
        # The measure by which epochs are compared.
        self.chosen_by = "BLEU-4"
        strategy = strategy_of(config)
        check_shares(self.batches, strategy.num_replicas_in_sync)
        with strategy.scope():
            self.model = self._load_or_build()
            if config.objective.name == "self_critical":
                self.chosen_by = "CIDEr-D"
                self.model.objective = self._self_critical()
        self.history = self._load_history()
        self.summaries = Summaries(os.path.join(workdir, "tensorboard"))
        self.caption_generator = CaptionGenerator(
            self.model, data.vocabulary, data.grid, config.encoder.resize_mode
        )
        # Epochs are compared by what users will be told: on photos greedy
        # captions get no better long before those of beam search do.
        # Choosing among them would tell little of the model.
        self.decoding = dataclasses.replace(
            config.decoding, consensus=0, num_captions=1
        )

    def train(self) -> None:
        """Trains epoch by epoch until the last, or until it gets no better."""
        first = self._step() // self.steps
        # An epoch whose captions were not yet scored when the run stopped;
        # what a warm start begins with counts as epoch 0.
        scored = 0 if not self.config.training.warm_start else -1
        if self.history:
            scored = self.history[-1]["epoch"]
        if first > scored:
            self._validate(first - 1)
        for epoch in range(first, self.config.training.epochs):
            if self._is_over():
                break
            self._train_epoch(epoch)
            self._validate(epoch)

    def _train_epoch(self, epoch: int) -> None:
        first = epoch * self.steps
        start = self._step() - first
        left = self.steps - start
        self.model.set_random_state(
            self.config.training.seed, self._step(), first
        )
        if self.model.sampling:
            self.model.sampling.probability.assign(
                scheduled_share(self.config, epoch)
            )
        self.model.learn_encoder(self._step())
        logs = self.model.fit(
            self.batches.epoch(epoch, start),
            initial_epoch=epoch,
            epochs=self.config.training.epochs,
            steps_per_epoch=left,
            callbacks=[
                _Epoch(self.save, self.config.training.checkpoint_minutes)
            ],
        ).history
        self.save()
        means = {name: values[-1] for name, values in logs.items()}
        self.summaries.scalars(
            {f"train/{name}": value for name, value in means.items()},
            self._step(),
        )

    def _validate(self, epoch: int) -> None:
        """Scores the captions of the model, with its averaged weights."""
        with self.model.averaged():
            self._score(epoch)

    def _score(self, epoch: int) -> None:
        """Scores the captions that the model says itself."""
        images, captions, scores = self._speak()
        name = self.chosen_by
        best = max((h[name] for h in self.history), default=-1.0)
        if scores[name] > best:
            _save_model(self.model, os.path.join(self.workdir, MODEL_FILE))
        self._keep(epoch)
        self.history.append({"epoch": epoch + 1, **scores})
        write_json(os.path.join(self.workdir, HISTORY_FILE), self.history)
        write_atomically(
            os.path.join(self.workdir, "curves.svg"),
            draw_curves(self.history).encode(),
        )
        start = "" if epoch >= 0 else "before training, "
        print(f"{start}validation: " + _told(scores))
        self.summaries.scalars(
            {f"validation/{name}": value for name, value in scores.items()},
            self._step(),
        )
        for image, caption in list(zip(images, captions, strict=True))[:3]:
            if caption.words:
                picture = _picture(image, caption)
                self.summaries.picture(image.id, picture, self._step())

    def _keep(self, epoch: int) -> None:
        """Keeps the models of the last epochs, as many as are asked for."""
        kept = self.config.training.keep_epochs
        if not kept:
            return
        folder = os.path.join(self.workdir, EPOCHS_FOLDER)
        os.makedirs(folder, exist_ok=True)
        _save_model(self.model, os.path.join(folder, f"{epoch + 1:02d}.keras"))
        for older in range(epoch + 2 - kept):
            path = os.path.join(folder, f"{older:02d}.keras")
            if os.path.exists(path):
                os.remove(path)

    def _speak(self):
        """Returns the validation images, their captions and the scores."""
        images = self.data.splits["validation"]
        captions = caption_split(
            self.caption_generator, self.data.cache, images, self.decoding
        )
        scores = quick_scores(
            captions, images, self.config.data.dataset == "scenes"
        )
        if self.config.objective.name == "self_critical":
            matches = match_words(
                [caption.words for caption in captions],
                [[words_of(c) for c in image.captions] for image in images],
            )
            scores["CIDEr-D"] = float(cider_d(matches).mean())
        return images, captions, scores

    def _is_over(self) -> bool:
        scores = [entry[self.chosen_by] for entry in self.history]
        if not scores:
            return False
        since = len(scores) - 1 - int(np.argmax(scores))
        return since >= self.config.training.patience

    def _step(self) -> int:
        return self.model.steps_taken()

    def save(self) -> None:
        """Writes the checkpoint."""
        _save_model(self.model, os.path.join(self.workdir, CHECKPOINT_FILE))

    def _load_or_build(self) -> Captioner:
        path = os.path.join(self.workdir, CHECKPOINT_FILE)
        if os.path.exists(path):
            model = load_model(path)
            check_vocabulary(model, self.data.vocabulary, path)
            print(f"goes on from step {model.steps_taken()} of {path}")
            return model
        model = build_captioner(self.config, self.data, self.steps)
        optimizer = _optimizer(
            self.config, self.steps * self.config.training.epochs
        )
        # What gains by being compiled already is, see `Captioner`.
        model.compile(optimizer=optimizer, jit_compile=False)
        if self.config.training.warm_start:
            self._warm_start(model)
        elif not self.config.model.annotation_scale:
            model.fit_annotation_scale(self._some_annotations())
        return model

    def _some_annotations(self):
        """Yields annotations of the first training images, a few at once."""
        positions = [x.position for x in self.batches.examples[:_FITTED]]
        for first in range(0, len(positions), 8):
            yield self.data.cache.read(positions[first : first + 8])

    def _self_critical(self) -> SelfCritical:
        config = self.config
        return SelfCritical(
            self.model,
            [example.captions for example in self.batches.examples],
            config.decoding.max_words,
            config.objective.reward_samples,
            config.objective.reward_baseline,
            config.objective.reward_bleu,
            config.objective.reward_meteor,
            config.objective.reward_temperature,
            config.data.length_step,
            config.training.seed,
        )

    def _warm_start(self, model: Captioner) -> None:
        """Gives a new model the weights of a trained one, and notes whose."""
        digest = take_weights(self.config, model, self.data.vocabulary)
        path = os.path.join(self.workdir, VERSIONS_FILE)
        write_json(path, {**read_json(path), "warm_start": digest})
        # From here on nothing depends on the folder of that model.
        _save_model(model, os.path.join(self.workdir, CHECKPOINT_FILE))

    def _load_history(self) -> list[dict]:
        """Reads the scores of the epochs that the checkpoint has behind it."""
        path = os.path.join(self.workdir, HISTORY_FILE)
        history = read_json(path) if os.path.exists(path) else []
        done = self._step() // self.steps
        return [entry for entry in history if entry["epoch"] <= done]


class _Epoch(keras.callbacks.Callback):
    """Ends after one epoch, and calls `save` every so many minutes."""

    def __init__(self, save, minutes: float):
        super().__init__()
        self._save, self._seconds = save, 60 * minutes
        self._last = time.monotonic()

    def on_train_batch_end(self, batch, logs=None):
        if time.monotonic() - self._last >= self._seconds:
            self._save()
            self._last = time.monotonic()

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = True


def _save_model(model: Captioner, path: str) -> None:
    beside = f"{path.removesuffix('.keras')}.tmp-{os.getpid()}.keras"
    try:
        model.save(beside)
        os.replace(beside, path)
    finally:
        if os.path.exists(beside):
            os.remove(beside)


def _final_scores(config: RunConfig, workdir: str) -> dict:
    """Scores the best model on what it was not chosen on, and draws."""
    decoding = config.decoding
    evaluated = evaluate_run(config, workdir, (), decoding)
    for evaluation in evaluated:
        print(f"\n{format_evaluation(evaluation)}")
    _draw(config, workdir, evaluated[0].images, evaluated[0].captions)
    return write_evaluation(workdir, evaluated, decoding)


def _draw(config, workdir, images, captions) -> None:
    folder = os.path.join(workdir, "pictures")
    chosen = list(zip(images, captions, strict=True))[
        : config.training.pictures
    ]
    pictures, said = [], []
    for image, caption in chosen:
        if caption.words:
            name = os.path.splitext(os.path.basename(image.id))[0]
            pictures.append(_picture(image, caption))
            said.append(f"{name}: {caption.text}")
            save_picture(pictures[-1], os.path.join(folder, f"{name}.png"))
    if pictures:
        sheet = contact_sheet(pictures, said)
        save_picture(sheet, os.path.join(workdir, "contact_sheet.png"))
    print(f"pictures of attention: {folder}")


def _picture(image: CaptionedImage, caption: Caption) -> Image.Image:
    return caption.draw(decode_image(image.read(), image.id))


def _told(scores: dict[str, float]) -> str:
    return ", ".join(
        f"{name} {value:.3f}"
        for name, value in scores.items()
        if name[:5] != "BLEU-" or name in ("BLEU-4", "BLEU-4_no_penalty")
    )


def _minutes(seconds: float) -> str:
    return f"{seconds / 60:.1f} minutes"


def _peak_memory() -> str:
    """Returns the most memory that this process has held at once."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    unit = 1 if sys.platform == "darwin" else 2**10  # macOS counts bytes
    return f"{peak * unit / 1e9:.1f} GB"
