"""Equations 1 to 3 and the gate of section 4.2.1."""

import numpy as np
import pytest

from show_attend_tell.layers import DecoderStep, LSTMDecoderCell
from tests import reference
from tests.show_attend_tell.layers.checks import (
    assert_close,
    check_layer,
    check_oracle,
    fill,
    random_array,
)

N, K, L, D, U, A, E = 2, 2, 3, 3, 2, 2, 3
GATES = ("scalar", "vector", "none")
BATCHES = [(N,), (N, K)]


def make(gate):
    return lambda **kwargs: LSTMDecoderCell(U, A, gate, **kwargs)


def weights_of(gate):
    weights = {
        "embedding_kernel": (E, 4 * U),
        "context_kernel": (D, 4 * U),
        "hidden_kernel": (U, 4 * U),
        "bias": (4 * U,),
        "attention/annotation_kernel": (D, A),
        "attention/hidden_kernel": (U, A),
        "attention/bias": (A,),
        "attention/energy_kernel": (A, 1),
    }
    if gate != "none":
        size = {"scalar": 1, "vector": D}[gate]
        weights |= {"gate_kernel": (U, size), "gate_bias": (size,)}
    return weights


def inputs_of(batch):
    return {
        "embedding": random_array(*batch, E),
        "hidden": random_array(*batch, U),
        "cell": random_array(*batch, U, seed=1),
        "annotations": random_array(N, L, D),
    }


def built(gate, **kwargs):
    cell = make(gate)(**kwargs)
    cell.build((None, E), (None, U), (None, U), (None, L, D))
    fill(cell)
    return cell


@pytest.mark.parametrize(
    ("gate", "batch"),
    [("scalar", (N,)), ("vector", (N, K)), ("none", (N, K))],
)
def test_cell(gate, batch):
    inputs = list(inputs_of(batch).values())
    shapes = [(None, *x.shape[1:]) for x in inputs]
    check_layer(make(gate), shapes, inputs, weights_of(gate))


@pytest.mark.parametrize("gate", GATES)
@pytest.mark.parametrize("batch", BATCHES)
def test_cell_is_the_papers(gate, batch):
    def oracle(inputs, weights):
        steps = [
            reference.decoder_step(
                inputs["embedding"][index],
                inputs["hidden"][index],
                inputs["cell"][index],
                inputs["annotations"][index[0]],
                weights,
            )
            for index in np.ndindex(*batch)
        ]
        return [
            np.reshape(part, (*batch, -1)) for part in zip(*steps, strict=True)
        ]

    cell = built(gate)
    check_oracle(cell, inputs_of(batch), oracle, lambda **x: cell(**x)[:5])


def test_step_has_names():
    step = built("scalar")(**inputs_of((N,)))
    assert isinstance(step, DecoderStep)
    assert step.attention.shape == (N, L) and step.gate.shape == (N, 1)
    np.testing.assert_allclose(np.sum(step.attention, -1), 1.0, rtol=1e-6)


def test_keys_save_work_and_change_nothing():
    cell, inputs = built("scalar"), inputs_of((N, K))
    keys = cell.attention.project(inputs["annotations"])
    assert_close(cell(**inputs, keys=keys), cell(**inputs))


def test_only_the_forget_gate_starts_open():
    cell = make("scalar")()
    cell.build((None, E), (None, U), (None, U), (None, L, D))
    # Input, forget, new, output; two units each.
    np.testing.assert_array_equal(cell.bias, [0, 0, 1, 1, 0, 0, 0, 0])
    np.testing.assert_array_equal(cell.gate_bias, [0])
    # Orthogonal: a kernel's rows are.
    kernel = np.asarray(cell.hidden_kernel)
    np.testing.assert_allclose(kernel @ kernel.T, np.eye(U), atol=1e-6)


def test_attention_follows_the_policy_of_the_cell():
    cell = built("scalar", dtype="mixed_bfloat16")
    step = cell(**inputs_of((N,)))
    assert step.attention.dtype == "float32"
    np.testing.assert_allclose(np.sum(step.attention, -1), 1.0, rtol=1e-6)


@pytest.mark.parametrize(
    "arguments",
    [
        {"units": 0, "attention_units": 1},
        {"units": 1, "attention_units": 0},
        {"units": 1, "attention_units": 1, "gate": "open"},
    ],
)
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match="Received: "):
        LSTMDecoderCell(**arguments)
