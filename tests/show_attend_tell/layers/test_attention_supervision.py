"""Attention at words with boxes, against the equation and by hand."""

import functools

import numpy as np
import pytest
from keras import ops

from show_attend_tell.layers import AttentionSupervision
from tests.show_attend_tell.layers.checks import (
    assert_close,
    check_oracle,
    random_array,
)

T, L = 4, 3
# The third word has no boxes.
COVERAGE = np.array(
    [[1.0, 0.0, 0.0], [0.25, 1.0, 0.5], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]],
    np.float32,
)


@pytest.mark.parametrize("batch", [(5,), (2, 3)])
def test_it_is_the_equation(batch):
    coverage = np.broadcast_to(COVERAGE, (*batch, T, L))

    def oracle(inputs, _):
        penalty = np.zeros(batch)
        for index in np.ndindex(*batch):
            for alpha, c in zip(
                inputs["attention"][index], COVERAGE, strict=True
            ):
                if c.any():
                    penalty[index] -= 0.35 * np.log(np.sum(c * alpha))
                for b, a in zip(c / max(c.sum(), 1), alpha, strict=True):
                    if b:
                        penalty[index] += 0.35 * b * np.log(b / a)
        return penalty

    attention = np.exp(random_array(*batch, T, L))
    layer = AttentionSupervision(0.7)
    call = functools.partial(layer, coverage=ops.convert_to_tensor(coverage))
    check_oracle(layer, {"attention": attention}, oracle, call)


def test_by_hand():
    attention = np.array(
        [[0.5, 0.25, 0.25], [0.1, 0.5, 0.4], [0.9, 0.1, 0.0], [0.2, 0.3, 0.5]],
        np.float32,
    )
    # Half of the first, 0.025 + 0.5 + 0.2 of the second, all of the last.
    inside = -(np.log(0.5) + np.log(0.725) + np.log(1.0))
    # Even attention: 1; 1/7, 4/7, 2/7; 1/3 each.
    spread = np.log(1 / 0.5)
    spread += np.log(1 / 7 / 0.1) / 7 + 4 / 7 * np.log(4 / 7 / 0.5)
    spread += 2 / 7 * np.log(2 / 7 / 0.4)
    spread -= np.log(3 * 0.2) / 3 + np.log(3 * 0.3) / 3 + np.log(3 * 0.5) / 3
    expected = inside + spread  # Of weight 2.
    penalty = AttentionSupervision(2.0)(attention, COVERAGE)
    assert_close(penalty, np.array(expected))


def test_attention_that_misses_all_boxes_has_a_finite_loss():
    attention = np.array([[0.0, 1.0, 0.0]], np.float32)
    penalty = AttentionSupervision()(attention, COVERAGE[:1])
    assert 15 < float(penalty) < 25


def test_a_negative_weight_is_refused():
    with pytest.raises(ValueError, match="weight"):
        AttentionSupervision(-1.0)
