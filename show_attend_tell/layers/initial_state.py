"""The decoder's first state, from the mean annotation (section 3.1.2)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="show_attend_tell")
class InitialState(keras.layers.Layer):
    """Predicts the first hidden state and cell from the mean annotation.

        m   = mean_i a_i
        q   = dropout(relu(W m + b)),  or q = m without a hidden layer
        h_0 = tanh(W_h q + b_h)
        c_0 = tanh(W_c q + b_c)

    Args:
        units: U, the size of hidden and cell.
        hidden_units: The size of the layer between, or 0 for none.
        dropout: The rate at which its units are dropped in training.
    """

    def __init__(
        self, units: int, hidden_units: int = 0, dropout: float = 0.0, **kwargs
    ):
        super().__init__(**kwargs)
        self.units = units
        self.hidden_units = hidden_units

        def dense(units, activation, name):
            return keras.layers.Dense(
                units, activation, name=name, dtype=self.dtype_policy
            )

        if hidden_units:
            self.between = dense(hidden_units, "relu", "between")
        self.dropout = keras.layers.Dropout(dropout, dtype=self.dtype_policy)
        self.to_hidden = dense(units, "tanh", "to_hidden")
        self.to_cell = dense(units, "tanh", "to_cell")

    def build(self, annotations_shape):
        """Creates the weights for `(N, L, D)`."""
        shape = (annotations_shape[0], annotations_shape[-1])
        if self.hidden_units:
            self.between.build(shape)
            shape = (shape[0], self.hidden_units)
        self.to_hidden.build(shape)
        self.to_cell.build(shape)

    def call(self, annotations, training=None):
        """Returns `h_0` and `c_0`, each `(N, U)`."""
        q = ops.mean(annotations, axis=1)  # (N, D)
        if self.hidden_units:
            q = self.dropout(self.between(q), training=training)
        return self.to_hidden(q), self.to_cell(q)

    def compute_output_shape(self, annotations_shape):
        """Returns `(N, U)` twice."""
        shape = (annotations_shape[0], self.units)
        return shape, shape

    def get_config(self):
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "units": self.units,
            "hidden_units": self.hidden_units,
            "dropout": self.dropout.rate,
        }
