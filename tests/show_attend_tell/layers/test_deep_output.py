"""Equation 7."""

import numpy as np
import pytest

from show_attend_tell.layers import DeepOutput
from tests import reference
from tests.show_attend_tell.layers.checks import (
    check_layer,
    check_oracle,
    fill,
    random_array,
)

E, U, D, V = 3, 4, 5, 7
WEIGHTS = {
    "hidden_kernel": (U, E),
    "context_kernel": (D, E),
    "bias": (E,),
    "output_kernel": (E, V),
    "output_bias": (V,),
}
BATCHES = [(2,), (2, 1, 3)]


def make(activation):
    return lambda **kwargs: DeepOutput(V, activation, **kwargs)


def inputs_of(batch):
    return [random_array(*batch, size) for size in (E, U, D)]


@pytest.mark.parametrize(
    ("activation", "batch"), [("tanh", (2, 1, 3)), ("linear", (2,))]
)
def test_deep_output(activation, batch):
    shapes = [(None,) * len(batch) + (size,) for size in (E, U, D)]
    check_layer(make(activation), shapes, inputs_of(batch), WEIGHTS)


@pytest.mark.parametrize("activation", ["tanh", "linear"])
@pytest.mark.parametrize("batch", BATCHES)
def test_deep_output_is_the_papers(activation, batch):
    layer = make(activation)()
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
    inputs = dict(zip(names, inputs_of(batch), strict=True))
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
    for found, value, share in (
        (embedding, 2, 0.5),
        (context, 2, 0.5),
        (hidden, 4, 0.25),
    ):
        assert set(np.unique(found)) == {0, value}
        assert abs(np.mean(np.asarray(found) > 0) - share) < 0.05
    np.testing.assert_array_equal(layer(ones, ones, ones), 3 * ones)


@pytest.mark.parametrize(
    "arguments",
    [
        {"vocabulary_size": 0},
        {"vocabulary_size": 9, "activation": "relu"},
        {"vocabulary_size": 9, "dropout": -0.1},
    ],
)
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match="Received: "):
        DeepOutput(**arguments)
