"""The deep output layer: scores of the next word (equation 7)."""

import keras
from keras import ops

ACTIVATIONS = ("tanh", "linear")


@keras.saving.register_keras_serializable(package="show_attend_tell")
class DeepOutput(keras.layers.Layer):
    """Scores every word of the vocabulary.

    With the embedding `E y` of the previous word (Xu et al. 2015, eq. 7):

        p      = E y + L_h dropout(h_t) + L_z z_t + b
        logits = L_o dropout(tanh(p)) + b_o

    Args:
        vocabulary_size: V.
        activation: `"tanh"` (the authors' released code) or `"linear"` (the
            equation as printed).
        dropout: The rate at which units of `h_t` and of `p` are dropped in
            training.
    """

    def __init__(
        self,
        vocabulary_size: int,
        activation: str = "tanh",
        dropout: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if vocabulary_size < 1:
            raise ValueError(
                "`vocabulary_size` must be positive. "
                f"Received: {vocabulary_size=}"
            )
        if activation not in ACTIVATIONS:
            raise ValueError(
                f"`activation` must be one of {ACTIVATIONS}. "
                f"Received: {activation=}"
            )
        self.vocabulary_size = vocabulary_size
        self.activation = activation
        policy = self.dtype_policy
        self.hidden_dropout = keras.layers.Dropout(dropout, dtype=policy)
        self.output_dropout = keras.layers.Dropout(dropout, dtype=policy)

    def build(self, embedding_shape, hidden_shape, context_shape):
        """Creates the weights for `(..., E)`, `(..., U)` and `(..., D)`."""
        size = embedding_shape[-1]
        self.hidden_kernel = self.add_weight(
            name="hidden_kernel", shape=(hidden_shape[-1], size)
        )
        self.context_kernel = self.add_weight(
            name="context_kernel", shape=(context_shape[-1], size)
        )
        self.bias = self.add_weight(
            name="bias", shape=(size,), initializer="zeros"
        )
        self.output_kernel = self.add_weight(
            name="output_kernel", shape=(size, self.vocabulary_size)
        )
        self.output_bias = self.add_weight(
            name="output_bias",
            shape=(self.vocabulary_size,),
            initializer="zeros",
        )

    def call(self, embedding, hidden, context, training=None):
        """Returns the logits of equation 7, `(..., V)`.

        Args:
            embedding: `E y_(t-1)`, `(..., E)`.
            hidden: `h_t`, `(..., U)`.
            context: The gated context `z_t`, `(..., D)`.
            training: Whether to drop units.
        """
        hidden = self.hidden_dropout(hidden, training=training)
        p = (
            embedding
            + ops.matmul(hidden, self.hidden_kernel)
            + ops.matmul(context, self.context_kernel)
            + self.bias
        )  # (..., E)
        if self.activation == "tanh":
            p = ops.tanh(p)
        p = self.output_dropout(p, training=training)
        return ops.matmul(p, self.output_kernel) + self.output_bias

    def compute_output_shape(
        self, embedding_shape, hidden_shape, context_shape
    ):
        """Returns `(..., V)`."""
        return (*embedding_shape[:-1], self.vocabulary_size)

    def get_config(self):
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "vocabulary_size": self.vocabulary_size,
            "activation": self.activation,
            "dropout": self.hidden_dropout.rate,
        }
