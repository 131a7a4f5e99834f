"""Equations 4 to 6 and 13."""

import numpy as np
import pytest

from show_attend_tell.layers import BahdanauAttention
from tests import reference
from tests.show_attend_tell.layers.checks import (
    assert_close,
    check_layer,
    check_oracle,
    fill,
    random_array,
)

N, K, L, D, U, A = 2, 3, 5, 4, 3, 2
WEIGHTS = {
    "annotation_kernel": (D, A),
    "hidden_kernel": (U, A),
    "bias": (A,),
    "energy_kernel": (A, 1),
}


def make(**kwargs):
    return BahdanauAttention(A, **kwargs)


def built(hidden_shape=(N, U), **kwargs):
    layer = make(**kwargs)
    layer.build(hidden_shape, (N, L, D))
    fill(layer)
    return layer


@pytest.mark.parametrize("batch", [(N,), (N, K)])
def test_attention(batch):
    hidden = random_array(*batch, U)
    annotations = random_array(N, L, D)
    shapes = ((None,) * len(batch) + (U,), (None, L, D))
    check_layer(make, shapes, [hidden, annotations], WEIGHTS)


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

    inputs = {
        "hidden": random_array(*batch, U),
        "annotations": random_array(N, L, D),
    }
    check_oracle(built((*batch, U)), inputs, oracle)


def test_keys_save_work_and_change_nothing():
    layer = built()
    hidden, annotations = random_array(N, U), random_array(N, L, D)
    keys = layer.project(annotations)
    assert_close(
        layer(hidden, annotations, keys=keys), layer(hidden, annotations)
    )
    # They are used where given.
    other = layer(hidden, annotations, keys=2.0 * keys)[1]
    assert not np.allclose(other, layer(hidden, annotations)[1])


def test_attention_is_a_distribution_in_float32_under_any_policy():
    layer = built(dtype="mixed_bfloat16")
    context, attention = layer(random_array(N, U), random_array(N, L, D))
    assert attention.dtype == "float32" and context.dtype == "float32"
    assert np.all(np.asarray(attention) > 0)
    np.testing.assert_allclose(np.sum(attention, -1), 1.0, rtol=1e-6)


def test_extreme_energies_stay_finite():
    layer = built()
    layer.energy_kernel.assign(np.full((A, 1), 1e4, np.float32))
    _, attention = layer(100 * random_array(N, U), 100 * random_array(N, L, D))
    assert np.all(np.isfinite(attention))
    np.testing.assert_allclose(np.sum(attention, -1), 1.0, rtol=1e-6)


def test_output_shape():
    layer = make()
    assert layer.compute_output_shape((None, U), (None, L, D)) == (
        (None, D),
        (None, L),
    )
    assert layer.compute_output_shape((None, K, U), (None, L, D)) == (
        (None, K, D),
        (None, K, L),
    )


@pytest.mark.parametrize("units", [0, -1])
def test_units_must_be_positive(units):
    with pytest.raises(ValueError, match=f"Received: units={units}"):
        BahdanauAttention(units)
