"""The doubly stochastic penalty, the second term of equation 14."""

import keras
from keras import ops

NORMALIZATIONS = ("sum", "mean")


@keras.saving.register_keras_serializable(package="show_attend_tell")
class DoublyStochasticRegularizer(keras.layers.Layer):
    """Penalises attention that neglects locations over a caption.

    For each caption:

        penalty = weight * sum_i (1 - sum_t alpha_ti)^2

    Only real words count, the end token among them; padding does not. It
    computes in float32 under any policy.

    Args:
        weight: Lambda.
        normalization: `"sum"` over locations (the paper's), or `"mean"`
            (the released code's, L times weaker).
    """

    def __init__(
        self, weight: float = 1.0, normalization: str = "sum", **kwargs
    ):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if weight < 0:
            raise ValueError(
                f"`weight` must not be negative. Received: {weight=}"
            )
        if normalization not in NORMALIZATIONS:
            raise ValueError(
                f"`normalization` must be one of {NORMALIZATIONS}. "
                f"Received: {normalization=}"
            )
        self.weight = weight
        self.normalization = normalization

    def call(self, attention, mask):
        """Returns the penalty of each caption, `(...)`, in float32.

        Args:
            attention: `(..., T, L)`.
            mask: `(..., T)`, true where a word (or the end token) is.
        """
        mask = ops.expand_dims(ops.cast(mask, "float32"), -1)  # (..., T, 1)
        missing = 1.0 - ops.sum(attention * mask, axis=-2)  # (..., L)
        reduce = ops.sum if self.normalization == "sum" else ops.mean
        return self.weight * reduce(missing * missing, axis=-1)

    def compute_mask(self, inputs, previous_mask):
        """Returns no mask: the penalty has no steps."""
        return None

    def compute_output_shape(self, attention_shape):
        """Returns `(...)`."""
        return tuple(attention_shape[:-2])

    def get_config(self):
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "weight": self.weight,
            "normalization": self.normalization,
        }
