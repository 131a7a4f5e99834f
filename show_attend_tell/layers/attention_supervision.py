"""Supervision of attention by boxes of what words name (Liu et al. 2017)."""

import keras
from keras import ops

# Attention that misses all boxes has a finite loss.
_LEAST = 1e-6


@keras.saving.register_keras_serializable(package="show_attend_tell")
class AttentionSupervision(keras.layers.Layer):
    """Penalises attention outside the boxes of what a word names.

    With `c_ti` the share of location i that the boxes of word t cover, for
    each caption, over the words that have boxes:

        penalty = -weight * sum_t log sum_i c_ti alpha_ti

    Other words are left free. It computes in float32 under any policy.

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
        inside = ops.sum(attention * coverage, axis=-1)  # (..., T)
        has_boxes = ops.any(coverage > 0, axis=-1)
        penalty = -ops.log(ops.maximum(inside, _LEAST))
        penalty = ops.sum(ops.where(has_boxes, penalty, 0.0), axis=-1)
        return self.weight * penalty

    def compute_mask(self, inputs, previous_mask):
        """Returns no mask: the penalty has no steps."""
        return None

    def compute_output_shape(self, attention_shape, coverage_shape):
        """Returns `(...)`."""
        return tuple(attention_shape[:-2])

    def get_config(self):
        """Returns the arguments of the layer."""
        return {**super().get_config(), "weight": self.weight}
