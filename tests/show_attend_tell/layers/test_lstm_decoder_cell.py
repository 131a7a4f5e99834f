"""Equations 1 to 3 and the gate of section 4.2.1."""

import numpy as np
import pytest
from keras import ops

from show_attend_tell.layers import LSTMDecoderCell
from tests import reference
from tests.show_attend_tell.layers.checks import (
    assert_close,
    check_mask,
    check_oracle,
    fill,
    random_array,
)

N, K, L, D, U, A, E = 2, 2, 4, 3, 2, 2, 3


def inputs_of(*batch):
    return {
        "embedding": random_array(*batch, E),
        "hidden": random_array(*batch, U),
        "cell": random_array(*batch, U, seed=1),
        "annotations": random_array(N, L, D),
    }


def built(gate="scalar", **kwargs):
    cell = LSTMDecoderCell(U, A, gate, **kwargs)
    cell.build((None, E), (None, U), (None, U), (None, L, D))
    fill(cell)
    return cell


@pytest.mark.parametrize("gate", ["scalar", "vector", "none"])
@pytest.mark.parametrize("batch", [(N,), (N, K)])
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
        parts = [*zip(*steps, strict=True)]
        return [np.reshape(part, (*batch, -1)) for part in parts]

    cell = built(gate)
    check_oracle(cell, inputs_of(*batch), oracle, lambda **x: cell(**x)[:5])


def test_masked_locations_do_not_exist():
    check_mask(built(), inputs_of(N, K))


def test_keys_save_work_and_change_nothing():
    cell, inputs = built(), inputs_of(N, K)
    keys = cell.project(inputs["annotations"])
    assert_close(cell(**inputs, keys=keys), cell(**inputs))


def test_context_is_made_by_the_given_weights():
    cell, inputs = built("none"), inputs_of(N, K)

    def peak(attention):
        return ops.one_hot(ops.argmax(attention, -1), L)

    step = cell(**inputs, context_weights=peak)
    weights = ops.convert_to_numpy(step.context_weights)
    assert set(np.unique(weights)) == {0, 1}
    locations = np.argmax(ops.convert_to_numpy(step.attention), -1)  # (N, K)
    expected = inputs["annotations"][np.arange(N)[:, None], locations]
    assert_close(step.context, expected)


def test_only_the_forget_gate_starts_open():
    cell = LSTMDecoderCell(U, A)
    cell.build((None, E), (None, U), (None, U), (None, L, D))
    # Input, forget, new memory, output; two units each.
    assert_close(cell.bias, np.array([0, 0, 1, 1, 0, 0, 0, 0]))
    assert_close(cell.gate_bias, np.zeros(1))
    kernel = ops.convert_to_numpy(cell.hidden_kernel)
    assert_close(kernel @ kernel.T, np.eye(U))  # Orthogonal.
