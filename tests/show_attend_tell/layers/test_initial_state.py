"""Section 3.1.2: the first hidden state and cell."""

import numpy as np
import pytest
from keras import ops

from show_attend_tell.layers import InitialState
from tests import reference
from tests.show_attend_tell.layers.checks import (
    check_oracle,
    fill,
    random_array,
)

N, L, D, U, H = 3, 4, 5, 2, 6


@pytest.mark.parametrize("hidden_units", [0, H])
def test_initial_state_is_the_papers(hidden_units):
    layer = InitialState(U, hidden_units)
    layer.build((N, L, D))
    fill(layer)

    def oracle(inputs, weights):
        states = [
            reference.initial_state(annotations, weights)
            for annotations in inputs["annotations"]
        ]
        return tuple(map(np.stack, zip(*states, strict=True)))

    check_oracle(layer, {"annotations": random_array(N, L, D)}, oracle)


def test_dropout_is_of_the_hidden_layer_in_training_only():
    annotations = random_array(N, L, D)
    two_layers = InitialState(U, 400, dropout=0.5)
    two_layers(annotations)
    fill(two_layers, scale=0.05)
    for layer, drops in ((two_layers, True), (InitialState(U, 0, 0.5), False)):
        outside, testing, training = (
            ops.convert_to_numpy(layer(annotations, training=training)[0])
            for training in (None, False, True)
        )
        np.testing.assert_array_equal(outside, testing)
        assert np.allclose(training, testing) != drops
