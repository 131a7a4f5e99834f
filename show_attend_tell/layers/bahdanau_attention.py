"""Additive attention over the annotations of an image (equations 4 to 6)."""

import keras
from keras import ops

from show_attend_tell.layers.equations import (
    additive_energies,
    attention_weights,
    expected_context,
    exponential,
)


@keras.saving.register_keras_serializable(package="show_attend_tell")
class BahdanauAttention(keras.layers.Layer):
    """Attends to the locations of an image, given the decoder's state.

    With annotations `a_i`, the previous hidden state `h` and the learned
    `W_a`, `W_h`, `b`, `u` (Xu et al. 2015):

        energies_i = u . tanh(W_a a_i + W_h h + b)            # eq. 4
        attention  = softmax(energies / temperature)          # eq. 5
        context    = sum_i attention_i a_i                    # eqs. 6, 13

    Keys do not depend on the word: `project` them once an image, and pass them
    to every call. It computes in float32 under any policy, because equation 4
    takes exponentials.

    Any layer with this `call` can take its place, see `LSTMDecoder`.

    Shapes: N images, K captions of each, L locations, D annotation size, U
    hidden units, A attention units. The axis K may be absent.

    Example:
        attention = BahdanauAttention(units=512)
        hidden, annotations = np.ones((2, 1024)), np.ones((2, 196, 512))
        keys = None  # or attention.project(annotations), once it is built
        context, weights = attention(hidden, annotations, keys=keys)

    Args:
        units: A, the size of the space in which annotations and hidden
            state are compared.
        temperature: Divides the energies: above one attention spreads, below
            one it sharpens.
    """

    def __init__(self, units: int, temperature: float = 1.0, **kwargs):
        super().__init__(**{**kwargs, "dtype": "float32"})
        if units < 1:
            raise ValueError(f"`units` must be positive. Received: {units=}")
        if not temperature > 0:
            raise ValueError(
                f"`temperature` must be positive. Received: {temperature=}"
            )
        self.units = units
        self.temperature = temperature

    def build(self, hidden_shape, annotations_shape):
        """Creates the weights for `(..., U)` and `(N, L, D)`."""
        self.annotation_kernel = self.add_weight(
            name="annotation_kernel", shape=(annotations_shape[-1], self.units)
        )
        self.hidden_kernel = self.add_weight(
            name="hidden_kernel", shape=(hidden_shape[-1], self.units)
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer="zeros"
        )
        self.energy_kernel = self.add_weight(
            name="energy_kernel", shape=(self.units, 1)
        )

    def project(self, annotations):
        """Returns the keys `exp(2 W_a a_i)`, `(N, L, A)`: once an image."""
        return exponential(ops.matmul(annotations, self.annotation_kernel))

    def call(self, hidden, annotations, keys=None, mask=None):
        """Returns the context `(N, [K,] D)` and attention `(N, [K,] L)`.

        Args:
            hidden: `h_(t-1)`, `(N, U)` or `(N, K, U)`.
            annotations: `(N, L, D)`.
            keys: `project(annotations)`, to compute it once.
            mask: `(N, L)` bool, false for locations that are not there, which
                get no attention. At least one of each image must be.
        """
        if len(hidden.shape) == 2:
            hidden = ops.expand_dims(hidden, 1)
            outputs = self.call(hidden, annotations, keys, mask)
            return tuple(ops.squeeze(x, 1) for x in outputs)
        if keys is None:
            keys = self.project(annotations)
        query = ops.matmul(hidden, self.hidden_kernel) + self.bias
        query = exponential(query)  # (N, K, A)
        energies = additive_energies(keys, query, self.scaled_energy_kernel)
        attention = attention_weights(energies, mask)  # (N, K, L)
        return expected_context(attention, annotations), attention

    @property
    def scaled_energy_kernel(self):
        """`u / temperature`, `(A, 1)`."""
        return self.energy_kernel / self.temperature

    def compute_mask(self, inputs, previous_mask):
        """Returns no mask: that of a call is of locations."""
        return None

    def compute_output_shape(self, hidden_shape, annotations_shape):
        """Returns the shapes of the context and of the attention."""
        *batch, _ = hidden_shape
        _, locations, size = annotations_shape
        return (*batch, size), (*batch, locations)

    def get_config(self):
        """Returns the arguments of the layer."""
        return {
            **super().get_config(),
            "units": self.units,
            "temperature": self.temperature,
        }
