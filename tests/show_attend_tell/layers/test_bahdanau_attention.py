"""Equations 4 to 6 and 13."""

import numpy as np
import pytest
from keras import ops

from show_attend_tell.layers import BahdanauAttention
from show_attend_tell.layers.equations import exponential
from tests import reference
from tests.show_attend_tell.layers.checks import (
    assert_close,
    check_mask,
    check_oracle,
    fill,
    random_array,
)

N, K, L, D, U, A = 2, 3, 5, 4, 3, 2


def built(**kwargs):
    layer = BahdanauAttention(A, **kwargs)
    layer.build((N, U), (N, L, D))
    fill(layer)
    return layer


def inputs_of(*batch):
    return {
        "hidden": random_array(*batch, U),
        "annotations": random_array(N, L, D),
    }


@pytest.mark.parametrize("batch", [(N,), (N, K)])
def test_attention_is_the_papers(batch):
    def oracle(inputs, weights):
        context, attention = np.zeros((*batch, D)), np.zeros((*batch, L))
        for index in np.ndindex(*batch):
            context[index], attention[index] = reference.attend(
                inputs["hidden"][index],
                inputs["annotations"][index[0]],
                weights,
            )
        return context, attention

    check_oracle(built(), inputs_of(*batch), oracle)


@pytest.mark.parametrize("batch", [(N,), (N, K)])
def test_masked_locations_do_not_exist(batch):
    check_mask(built(), inputs_of(*batch))


def test_keys_save_work_and_change_nothing():
    layer, inputs = built(), inputs_of(N)
    keys = layer.project(inputs["annotations"])
    assert_close(layer(**inputs, keys=keys), layer(**inputs))
    with pytest.raises(AssertionError):  # They are used where given.
        assert_close(layer(**inputs, keys=2.0 * keys), layer(**inputs))


def test_temperature_divides_the_energies():
    layer, warm = built(), built(temperature=2.0)
    layer.energy_kernel.assign(layer.energy_kernel / 2.0)
    assert_close(warm(**inputs_of(N)), layer(**inputs_of(N)))


@pytest.mark.parametrize("scale", [1e4, -1e4])
def test_extreme_energies_stay_finite(scale):
    layer = built(dtype="mixed_float16")
    layer.energy_kernel.assign(np.full((A, 1), scale, np.float32))
    inputs = {k: 100 * v for k, v in inputs_of(N).items()}
    context, attention = map(ops.convert_to_numpy, layer(**inputs))
    assert np.all(np.isfinite(context))
    np.testing.assert_allclose(np.sum(attention, -1), 1.0, rtol=1e-6)


def test_exponentials_are_finite_and_so_are_their_reciprocals():
    x = np.array([-1e30, -40.0, 0.5, 40.0, np.inf], np.float32)
    y = ops.convert_to_numpy(exponential(x))
    assert np.all(np.isfinite(y)) and np.all(np.isfinite(1 / y))
    np.testing.assert_allclose(y[2], np.e, rtol=1e-6)
