"""Supervision of attention by boxes of what words name (Liu et al. 2017)."""

import keras
from keras import ops

# So that the loss of attention that misses all boxes is finite.
_LEAST = 1e-9


@keras.saving.register_keras_serializable(package="show_attend_tell")
class AttentionSupervision(keras.layers.Layer):
    """Penalises attention outside the boxes of what a word names.

    With `c_ti` the share of location i that the boxes of word t cover, and
    `b_ti = c_ti / sum_j c_tj`, for each caption over the words with boxes:

        penalty = weight / 2 * sum_t (-log sum_i c_ti alpha_ti
                                      + sum_i b_ti log(b_ti / alpha_ti))

    The first part asks for attention inside the boxes, wherever it lies there;
    the second (Liu et al.'s, less a constant) for attention to all of them, so
    that boxes can be made of it. Other words are left free. It computes in
    float32 under any policy.

    Args:
        weight: Its weight, against one of a word's negative log-likelihood.
    """

    def __init__(self, weight: float = 1.0, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if weight < 0:
            raise ValueError(
                f"`weight` must not be negative. Received: {weight=}"
            )
        self.weight = weight

    def call(self, attention, coverage):
        """Returns the penalty of each caption, `(...)`, in float32.

        Args:
            attention: `(..., T, L)`.
            coverage: `(..., T, L)`, from 0 to 1; all zero for words without
                boxes.
        """
        area = ops.sum(coverage, axis=-1, keepdims=True)  # (..., T, 1)
        even = coverage / ops.maximum(area, _LEAST)
        inside = ops.sum(attention * coverage, axis=-1)  # (..., T)
        divergence = ops.sum(even * (_log(even) - _log(attention)), axis=-1)
        penalty = ops.where(area[..., 0] > 0, divergence - _log(inside), 0.0)
        return self.weight / 2 * ops.sum(penalty, axis=-1)

    def compute_mask(self, inputs, previous_mask):
        """Returns no mask: the penalty has no steps."""
        return None

    def compute_output_shape(self, attention_shape, coverage_shape):
        """Returns `(...)`."""
        return tuple(attention_shape[:-2])

    def get_config(self):
        """Returns the arguments of the layer."""
        return {**super().get_config(), "weight": self.weight}


def _log(share):
    return ops.log(ops.maximum(share, _LEAST))
