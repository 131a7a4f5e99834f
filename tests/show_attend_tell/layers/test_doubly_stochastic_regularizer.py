"""The second term of equation 14."""

import numpy as np
import pytest

from show_attend_tell.layers import DoublyStochasticRegularizer
from tests import reference
from tests.show_attend_tell.layers.checks import (
    assert_close,
    check_oracle,
    random_array,
)

T, L = 4, 3


def attention_of(*batch):
    return np.exp(random_array(*batch, T, L))


def mask_of(*batch):
    lengths = np.arange(np.prod(batch)).reshape(batch) % (T + 1)
    return np.arange(T) < lengths[..., None]


@pytest.mark.parametrize("normalization", ["sum", "mean"])
@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_regularizer_is_the_papers(normalization, batch):
    def oracle(inputs, _):
        penalty = np.zeros(batch)
        for index in np.ndindex(*batch):
            penalty[index] = reference.doubly_stochastic(
                inputs["attention"][index],
                inputs["mask"][index],
                0.7,
                normalization,
            )
        return penalty

    inputs = {"attention": attention_of(*batch), "mask": mask_of(*batch)}
    layer = DoublyStochasticRegularizer(0.7, normalization)
    check_oracle(layer, inputs, oracle)


def test_by_hand():
    attention = np.array(
        [[[1.0, 0.0], [0.5, 0.5], [0.0, 9.0]]], np.float32
    )  # Seen 3/2 and 1/2, where the third step is padding.
    mask = np.array([[True, True, False]])
    paper = DoublyStochasticRegularizer(2.0)
    assert_close(paper(attention, mask), np.array([2 * (1 / 4 + 1 / 4)]))
    # A caption of padding: one a location; the loss leaves it out.
    assert_close(paper(attention, np.zeros((1, 3), bool)), np.array([2 * 2]))
    released = DoublyStochasticRegularizer(2.0, "mean")
    assert_close(released(attention, mask), np.array([1 / 2]))


def test_it_is_exact_in_mixed_precision():
    # In bfloat16, 1 + 1/512 is 1: such a penalty would vanish.
    attention = np.full((1, 1, 2), 1 + 1 / 512, np.float32)
    layer = DoublyStochasticRegularizer(dtype="mixed_bfloat16")
    penalty = layer(attention, np.ones((1, 1), bool))
    assert_close(penalty, np.array([2 / 512**2]), rtol=1e-5, atol=0)
