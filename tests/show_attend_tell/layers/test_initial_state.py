"""Section 3.1.2: the first hidden state and cell."""

import numpy as np
import pytest

from show_attend_tell.layers import InitialState
from tests import reference
from tests.show_attend_tell.layers.checks import (
    check_layer,
    check_oracle,
    fill,
    random_array,
)

N, L, D, U, H = 3, 4, 5, 2, 6


def make(hidden_units):
    return lambda **kwargs: InitialState(U, hidden_units, **kwargs)


def weights_of(hidden_units):
    size = hidden_units or D
    weights = {
        "to_hidden/kernel": (size, U),
        "to_hidden/bias": (U,),
        "to_cell/kernel": (size, U),
        "to_cell/bias": (U,),
    }
    if hidden_units:
        weights["between/kernel"] = (D, H)
        weights["between/bias"] = (H,)
    return weights


@pytest.mark.parametrize("hidden_units", [0, H])
def test_initial_state(hidden_units):
    check_layer(
        make(hidden_units),
        ((None, None, D),),
        [random_array(N, L, D)],
        weights_of(hidden_units),
    )


@pytest.mark.parametrize("hidden_units", [0, H])
def test_initial_state_is_the_papers(hidden_units):
    layer = make(hidden_units)()
    layer.build((N, L, D))
    fill(layer)

    def oracle(inputs, weights):
        states = [
            reference.initial_state(annotations, weights)
            for annotations in inputs["annotations"]
        ]
        return tuple(map(np.stack, zip(*states, strict=True)))

    check_oracle(layer, {"annotations": random_array(N, L, D)}, oracle)


def test_dropout_is_of_the_hidden_layer_in_training_alone():
    layer = InitialState(U, 400, dropout=0.5)
    annotations = random_array(N, L, D)
    layer(annotations)
    fill(layer, scale=0.05)
    calm = layer(annotations)[0]
    np.testing.assert_array_equal(layer(annotations, training=False)[0], calm)
    assert not np.allclose(layer(annotations, training=True)[0], calm)
    one_layer = InitialState(U, 0, dropout=0.5)
    np.testing.assert_array_equal(
        one_layer(annotations, training=True)[0],
        one_layer(annotations, training=False)[0],
    )


@pytest.mark.parametrize(
    "arguments",
    [{"units": 0}, {"units": 2, "hidden_units": -1}]
    + [{"units": 2, "dropout": 1.5}],
)
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match="Received: "):
        InitialState(**arguments)
