"""From a configuration to a captioner, its objective and its optimizer."""

import dataclasses
import random

import keras
import numpy as np
import tensorflow as tf

from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.model import Captioner
from show_attend_tell.objectives import (
    HardAttention,
    Likelihood,
    Objective,
    SelfCritical,
)
from show_attend_tell.training.data import Data
from show_attend_tell.training.train_step import CaptionerTrainer

# The images whose annotations determine `annotation_scale`.
_IMAGES_FITTED = 64


def build_trainer(
    config: RunConfig, data: Data, steps_per_epoch: int
) -> CaptionerTrainer:
    """Builds and compiles what a run trains."""
    captioner = _build_captioner(config, data)
    options = {}
    if captioner.encoder is not None:
        options = {
            "encoder_learning_rate_multiplier": config.encoder.learning_rate
            / config.training.learning_rate,
            "encoder_start": config.encoder.frozen_epochs * steps_per_epoch,
        }
    trainer = CaptionerTrainer(captioner, make_objective(config), **options)
    optimizer = _make_optimizer(
        config, steps_per_epoch * config.training.epochs
    )
    trainer.compile(optimizer, jit_compile=False)
    return trainer


def _build_captioner(config: RunConfig, data: Data) -> Captioner:
    encoder, metadata = data.encoder, data.cache.metadata
    if encoder is not None and tf.distribute.has_strategy():
        encoder = _copy_in_scope(encoder)
    captioner = Captioner(
        config.model,
        len(data.vocabulary),
        data.vocabulary.digest,
        encoder=encoder,
        dtype=config.training.dtype_policy,
    )
    annotations = (None, metadata.locations, metadata.depth)
    captioner.build({"annotations": annotations, "tokens": (None, None, None)})
    return captioner


def _copy_in_scope(model: keras.Model) -> keras.Model:
    """Returns a copy whose weights belong to the current strategy."""
    # Keras seeds initializers by `random`: leave it as it was.
    state = random.getstate()
    copy = keras.saving.deserialize_keras_object(
        keras.saving.serialize_keras_object(model)
    )
    copy.set_weights(model.get_weights())
    random.setstate(state)
    return copy


def make_objective(config: RunConfig) -> Objective:
    """Returns the objective of `--objective`."""
    options = dataclasses.asdict(config.objective)
    name = options.pop("name")

    def starting_with(*prefixes):
        return {k: v for k, v in options.items() if k.startswith(prefixes)}

    if name == "self_critical":
        return SelfCritical(
            max_words=config.decoding.max_words,
            length_step=config.data.length_step,
            seed=config.training.seed,
            **starting_with("reward_", "regularizer_", "attention_supervision"),
        )
    if name == "likelihood":
        return Likelihood(
            **starting_with(
                "regularizer_", "attention_supervision", "label_", "scheduled_"
            )
        )
    for reward in starting_with("reward_"):
        del options[reward]
    return HardAttention(**options)


def _make_optimizer(
    config: RunConfig, steps: int
) -> keras.optimizers.Optimizer:
    training = config.training
    rate = training.learning_rate
    if training.schedule == "cosine":
        rate = keras.optimizers.schedules.CosineDecay(
            rate / 10,
            decay_steps=max(steps * 19 // 20, 1),
            warmup_target=rate,
            warmup_steps=max(steps // 20, 1),
        )
    kinds = {"adam": keras.optimizers.Adam, "rmsprop": keras.optimizers.RMSprop}
    return kinds[training.optimizer](
        rate,
        global_clipnorm=training.clip_norm or None,
        use_ema=training.ema > 0,
        ema_momentum=training.ema,
    )


def fit_annotation_scale(captioner: Captioner, data: Data) -> None:
    """Sets `annotation_scale` so that annotations have a deviation of 1.

    Where they are near one the captioner learns several times faster than
    where they are small. To three digits, so that it does not depend on the
    order of a sum.
    """
    images = data.splits["train"][:_IMAGES_FITTED]
    positions = [data.cache.position(image.id) for image in images]
    count, total, squares = 0, 0.0, 0.0
    for first in range(0, len(positions), 8):
        annotations = data.cache.read(positions[first : first + 8])
        encoded = captioner.encode(keras.ops.convert_to_tensor(annotations))
        values = keras.ops.convert_to_numpy(encoded).astype("float64")
        count += values.size
        total += values.sum()
        squares += np.square(values).sum()
    deviation = np.sqrt(squares / count - (total / count) ** 2)
    captioner.annotation_scale = float(f"{1 / max(deviation, 1e-6):.3g}")
