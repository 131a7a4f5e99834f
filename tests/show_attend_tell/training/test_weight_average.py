"""The average of weights: its value, its place in files, its loan."""

import functools

import keras
import numpy as np
import pytest

from show_attend_tell.inference.model_files import load_model
from tests.show_attend_tell.test_model import batch_of, made


def values(variables):
    return [keras.ops.convert_to_numpy(v) for v in variables]


def training():
    model = made(scale=0.2, ema=0.5)
    model.compile(keras.optimizers.Adam(0.05), run_eagerly=True)
    return model


def uncompiled(model):
    """Compiling would take seconds for a few steps."""
    step = type(model).apply_gradients.python_function
    model.apply_gradients = functools.partial(step, model)
    model.decoder.jit_compile = False
    return model


def expected(steps, momentum):
    """Every step's part in the average, multiplied out."""
    parts = np.zeros(len(steps))
    for t in range(1, len(steps) + 1):
        m = min(momentum, (t - 1) / (t + 9))
        parts[: t - 1] *= m
        parts[t - 1] = 1 - m
    assert parts.sum() == pytest.approx(1)
    return [
        sum(p * w for p, w in zip(parts, weights, strict=True))
        for weights in zip(*steps, strict=True)
    ]


def test_it_is_the_average_in_the_compiled_step():
    model, batch = training(), batch_of(steps=2)
    # 0.5 is reached at the 11th step.
    steps = []
    for _ in range(15):
        model.train_on_batch(batch)
        steps.append(values(model.trainable_variables))
    found = values(model.average.averages)
    for one, other in zip(found, expected(steps, 0.5), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_a_loan_changes_what_is_said_and_nothing_else(tmp_path):
    model, batch = uncompiled(training()), batch_of(steps=2)
    with model.averaged():  # There is none yet.
        before = values(model.trainable_variables)
        assert all(np.any(weight) for weight in before)
    for _ in range(3):
        model.train_on_batch(batch)
    raw = values([*model.weights, *model.optimizer.variables])
    averages = values(model.average.averages)
    path = tmp_path / "lent.keras"
    with pytest.raises(KeyboardInterrupt), model.averaged():
        lent = np.array(model(batch)["logits"])
        model.save(path)
        raise KeyboardInterrupt
    for one, other in zip(
        raw,
        values([*model.weights, *model.optimizer.variables]),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
    assert np.abs(lent - np.array(model(batch)["logits"])).max() > 1e-4
    loaded = uncompiled(load_model(str(path)))
    for one, other in zip(
        values(loaded.trainable_variables), averages, strict=True
    ):
        np.testing.assert_array_equal(one, other)
    np.testing.assert_array_equal(loaded(batch)["logits"], lent)


def test_a_checkpoint_goes_on_with_the_average(tmp_path):
    model, batch = uncompiled(training()), batch_of(steps=2)
    path = tmp_path / "last.keras"
    for step in range(6):
        if step == 3:
            model.save(path)
        model.train_on_batch(batch)
    again = uncompiled(load_model(str(path)))
    for _ in range(3):
        again.train_on_batch(batch)
    for one, other in zip(
        values([*model.weights, *model.optimizer.variables]),
        values([*again.weights, *again.optimizer.variables]),
        strict=True,
    ):
        np.testing.assert_array_equal(one, other)
