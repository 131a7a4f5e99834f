"""Equation 7."""

import numpy as np
import pytest
from keras import ops

from show_attend_tell.layers import DeepOutput
from tests import reference
from tests.show_attend_tell.layers.checks import (
    assert_close,
    check_oracle,
    fill,
    random_array,
)

E, U, D, V = 3, 4, 5, 7


@pytest.mark.parametrize("activation", ["tanh", "linear"])
@pytest.mark.parametrize("batch", [(2,), (2, 1, 3)])
def test_deep_output_is_the_papers(activation, batch):
    layer = DeepOutput(V, activation)
    layer.build((E,), (U,), (D,))
    fill(layer)

    def oracle(inputs, weights):
        logits = np.zeros((*batch, V))
        for index in np.ndindex(*batch):
            logits[index] = reference.deep_output(
                *(inputs[name][index] for name in names), weights, activation
            )
        return logits

    names = ("embedding", "hidden", "context")
    sizes = dict(zip(names, (E, U, D), strict=True))
    inputs = {name: random_array(*batch, x) for name, x in sizes.items()}
    check_oracle(layer, inputs, oracle)


def test_dropout_is_where_the_paper_has_it():
    # One unit at a time: what is dropped is zero, what stays is doubled.
    layer = DeepOutput(1, "linear", dropout=0.5)
    layer.build((1,), (1,), (1,))
    for weight, value in zip(layer.weights, (1, 1, 0, 1, 0), strict=True):
        weight.assign(np.full(weight.shape, value, np.float32))
    shape = (4000, 1)
    ones, zeros = np.ones(shape, np.float32), np.zeros(shape, np.float32)
    embedding = layer(ones, zeros, zeros, training=True)
    hidden = layer(zeros, ones, zeros, training=True)
    context = layer(zeros, zeros, ones, training=True)
    # Embedding and context meet the output's dropout alone; the hidden
    # state its own as well, so a quarter is left, four times as large.
    for logits, value, share in (
        (embedding, 2, 0.5),
        (context, 2, 0.5),
        (hidden, 4, 0.25),
    ):
        logits = ops.convert_to_numpy(logits)
        assert set(np.unique(logits)) == {0, value}
        assert abs(np.mean(logits > 0) - share) < 0.05
    assert_close(layer(ones, ones, ones), 3 * ones)
