"""A captioner of the smallest sizes, its batches, and its NumPy oracle."""

import dataclasses

import keras
import numpy as np
import tensorflow as tf

from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.configs.model import ModelConfig
from show_attend_tell.model import Captioner
from show_attend_tell.objectives import Likelihood
from show_attend_tell.training.train_step import CaptionerTrainer
from tests import reference
from tests.show_attend_tell.layers.checks import (
    fill,
    named_weights,
    random_array,
)

N, K, T, L, D, V = 2, 2, 4, 5, 6, 11
SHAPES = {"annotations": (None, L, D), "tokens": (None, None, None)}
SMALL = ModelConfig(
    embedding_size=3,
    units=4,
    attention_units=3,
    initial_units=5,
    dropout=0.0,
)


def make_captioner(
    seed=0,
    scale=0.5,
    *,
    vocabulary_size=V,
    vocabulary_digest="",
    shapes=SHAPES,
    attention=None,
    encoder=None,
    jit_compile=False,
    dtype=None,
    **options,
):
    """A captioner with random weights; options are those of `ModelConfig`."""
    captioner = Captioner(
        dataclasses.replace(SMALL, **options),
        vocabulary_size,
        vocabulary_digest,
        attention=attention,
        encoder=encoder,
        dtype=dtype,
        name="captioner",
    )
    # Compiled, every new shape would take seconds.
    captioner.decoder.jit_compile = jit_compile
    captioner.build(shapes)
    fill(captioner, seed, scale)
    return captioner


def make_trainer(
    captioner=None, objective=None, optimizer=None, eager=False, **options
):
    """A trainer, compiled, of a captioner or of one with these options."""
    trainer = CaptionerTrainer(
        captioner or make_captioner(),
        objective or Likelihood(),
        **options,
    )
    trainer.compile(
        optimizer or keras.optimizers.Adam(0.05),
        jit_compile=False,
        run_eagerly=eager,
    )
    return without_xla(trainer) if eager else trainer


def without_xla(trainer):
    """Lets XLA compile nothing, which is faster for a few steps."""
    trainer.captioner.decoder.jit_compile = False
    step = CaptionerTrainer.apply_gradients.python_function
    trainer.apply_gradients = step.__get__(trainer)
    return trainer


def batch_of(n=N, k=K, steps=T, seed=0):
    """Captions of 0 to `steps` steps, each ended, then padding."""
    rng = np.random.default_rng(seed)
    tokens = np.full((n, k, steps + 1), PADDING, np.int32)
    for number, index in enumerate(np.ndindex(n, k)):
        length = steps - number % (steps + 1)
        if length:
            words = rng.integers(4, V, length - 1)
            tokens[index][: length + 1] = [START, *words, END]
    annotations = random_array(n, L, D, seed=seed, scale=3.0)
    return {"annotations": np.maximum(annotations, 0), "tokens": tokens}


def float64_weights(captioner):
    """The weights by name, as `tests.reference` takes them."""
    return {
        name: np.asarray(weight, np.float64)
        for name, weight in named_weights(captioner).items()
    }


def oracle(captioner, batch, weights=None):
    """Logits and attention, `(N, K, T, ...)`, by the paper's equations."""
    weights = weights or float64_weights(captioner)
    n, k = batch["tokens"].shape[:2]
    captions = [
        reference.caption_loop(
            batch["tokens"][i, j],
            batch["annotations"][i].astype(np.float64),
            weights,
            captioner.config.activation,
            captioner.annotation_scale,
        )
        for i, j in np.ndindex(n, k)
    ]
    return [
        np.reshape(x, (n, k, *x[0].shape)) for x in zip(*captions, strict=True)
    ]


def nll_of(logits, tokens):
    """The negative log-likelihood of each caption that has words, by NumPy."""
    targets = tokens[..., 1:]
    return np.array(
        [
            reference.caption_nll(logits[i], targets[i], targets[i] != PADDING)
            for i in np.ndindex(targets.shape[:-1])
        ]
    ).reshape(targets.shape[:-1])


def arrays_of(*models):
    """The weights of models and of their optimizers."""
    variables = [
        v
        for model in models
        for v in [*model.weights, *getattr(model.optimizer, "variables", [])]
    ]
    return [keras.ops.convert_to_numpy(v) for v in variables]


def assert_equal(one, other):
    """Compares two lists of arrays, bit for bit."""
    for a, b in zip(one, other, strict=True):
        np.testing.assert_array_equal(a, b)


def loss_and_gradients(captioner, objective, inputs, training=True, step=0):
    """The losses of an objective, and dense gradients of all weights."""
    inputs = objective.prepare(captioner, inputs, step)
    with tf.GradientTape() as tape:
        losses = objective.compute_losses(captioner, inputs, training)
    gradients = tape.gradient(losses.loss, captioner.trainable_variables)
    return losses, [tf.convert_to_tensor(g) for g in gradients]
