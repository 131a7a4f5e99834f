"""Trains the encoder of rendered scenes, from scratch, with a decoder.

    python -m show_attend_tell.train_encoder --output=scenes.weights.h5

renders scenes, trains the convolutional network of
`pipelines.encoders.scenes_network` together with a captioner on their captions
(it never sees a box), and writes the network's weights. The weights that ship
with the package were made so.
"""

import concurrent.futures
import functools
import multiprocessing

import keras
import numpy as np
import tensorflow as tf
from absl import flags

from pipelines.commands import no_arguments, run
from pipelines.encoders.scenes_network import (
    IMAGE_SIZE,
    fold_normalization,
    scenes_network,
)
from pipelines.errors import UserError
from pipelines.files import replacing
from pipelines.images.decoding import decode_image, fit_image
from pipelines.outputs import check_output_file
from pipelines.processes import end_with_parent
from pipelines.sources.scenes import load_scenes
from pipelines.vocabulary import PADDING, Vocabulary
from show_attend_tell.configs.model import ModelConfig
from show_attend_tell.model import Captioner
from show_attend_tell.objectives import Likelihood
from show_attend_tell.training.callbacks import SaveByTime
from show_attend_tell.training.train_step import CaptionerTrainer

_OUTPUT = flags.DEFINE_string(
    "output", None, "where to write the weights", required=True
)
_SCENES = flags.DEFINE_integer("scenes", 20000, "rendered scenes to train on")
_STEPS = flags.DEFINE_integer("steps", 4500, "optimizer steps")
_BATCH = flags.DEFINE_integer("batch_size", 32, "scenes in a batch")
_CAPTIONS = flags.DEFINE_integer(
    "captions", 2, "captions of each scene in a batch"
)
_RATE = flags.DEFINE_float("learning_rate", 1.5e-3, "peak learning rate")
_SEED = flags.DEFINE_integer("seed", 1000, "of scenes and training")
_PENALTY = flags.DEFINE_float("regularizer_weight", 0.02, "lambda")

_ENDING = ".weights.h5"


def _render(image):
    return fit_image(decode_image(image.read()), IMAGE_SIZE, "squash")


def _render_all(images):
    context = multiprocessing.get_context("spawn")
    rendered = np.empty((len(images), IMAGE_SIZE, IMAGE_SIZE, 3), np.uint8)
    bar = keras.utils.Progbar(len(images), unit_name="scene")
    with concurrent.futures.ProcessPoolExecutor(
        2, context, end_with_parent
    ) as pool:
        for i, pixels in enumerate(pool.map(_render, images, chunksize=64)):
            rendered[i] = pixels
            if i % 100 == 99 or i + 1 == len(images):
                bar.update(i + 1)
    return rendered


def _pad(captions):
    length = max(len(caption) for caption in captions)
    tokens = np.full((len(captions), length), PADDING, np.int32)
    for row, caption in zip(tokens, captions, strict=True):
        row[: len(caption)] = caption
    return tokens


def _batches(pixels, tokens, seed):
    """Returns batches of random scenes, with some captions of each."""

    def batch(step):
        rng = np.random.default_rng([seed, step])
        rows = rng.choice(len(pixels), _BATCH.value, replace=False)
        captions = rng.integers(
            tokens.shape[1], size=(_BATCH.value, _CAPTIONS.value)
        )
        return pixels[rows], tokens[rows[:, None], captions]

    def load(step):
        images, words = tf.numpy_function(
            batch, [step], (tf.uint8, tf.int32), stateful=False
        )
        images.set_shape((_BATCH.value, *pixels.shape[1:]))
        words.set_shape((_BATCH.value, _CAPTIONS.value, tokens.shape[2]))
        images = tf.cast(images, tf.float32) / 127.5 - 1.0
        return {"annotations": images, "tokens": words}

    steps = tf.data.Dataset.range(_STEPS.value)
    return steps.map(load, num_parallel_calls=1).prefetch(4)


def main(arguments):
    """Renders scenes, trains, writes."""
    no_arguments(arguments)
    if not _OUTPUT.value.endswith(_ENDING):
        raise UserError(
            f"Expected --output to end in {_ENDING}. Received: "
            f"{_OUTPUT.value!r}"
        )
    check_output_file(_OUTPUT.value, "--output")
    keras.utils.set_random_seed(_SEED.value)
    source = load_scenes(
        train=_SCENES.value, validation=1, test=1, novel=1, seed=_SEED.value
    )
    images = source.split("train")
    vocabulary = Vocabulary.build(c for i in images for c in i.captions)
    flat = _pad([vocabulary.encode(c) for i in images for c in i.captions])
    tokens = flat.reshape(len(images), -1, flat.shape[-1])
    network = scenes_network(normalized=True)
    config = ModelConfig(
        embedding_size=128,
        units=256,
        attention_units=128,
        initial_units=0,
        dropout=0.1,
    )
    trainer = CaptionerTrainer(
        Captioner(config, len(vocabulary), encoder=network),
        Likelihood(regularizer_weight=_PENALTY.value),
    )
    rate = keras.optimizers.schedules.CosineDecay(
        1e-4,
        max(_STEPS.value - 500, 1),
        0.01,
        warmup_target=_RATE.value,
        warmup_steps=500,
    )
    optimizer = keras.optimizers.Adam(rate, global_clipnorm=5.0)
    trainer.compile(optimizer, jit_compile=False)
    save = functools.partial(_save, network, _OUTPUT.value)
    trainer.fit(
        _batches(_render_all(images), tokens, _SEED.value),
        callbacks=[SaveByTime(save, minutes=2.0)],
    )
    save()
    print(_OUTPUT.value)


def _save(network, path):
    with replacing(path) as temporary:
        fold_normalization(network).save_weights(temporary)


if __name__ == "__main__":
    run(main)
