"""Additive attention over the annotations of an image (section 4, eqs. 4-6)."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="show_attend_tell")
class BahdanauAttention(keras.layers.Layer):
    """Looks at every location and says how much each one matters now.

    With annotations `a_i`, the previous hidden state `h` and the learned
    `W_a`, `W_h`, `b`, `u` (Xu et al. 2015, equations 4 to 6):

        keys_i      = W_a a_i
        energies_i  = u . tanh(keys_i + W_h h + b)            # eq. 4
        attention   = softmax(energies)                       # eq. 5
        context     = sum_i attention_i a_i                   # eq. 6, 13

    The keys do not depend on the word: `project` them once an image and
    pass them to every call. The softmax runs in float32 under any policy.

    Shapes: N images, K captions of each image, L locations, D annotation
    size, U hidden units, A attention units. The axis K may be absent.

    Args:
        units: A, the size of the space in which annotations and hidden
            state are compared.
        temperature: What the energies are divided by: above one attention
            spreads, below it sharpens.
    """

    def __init__(self, units: int, temperature: float = 1.0, **kwargs):
        super().__init__(**kwargs)
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
        hidden_size, depth = hidden_shape[-1], annotations_shape[-1]
        self.annotation_kernel = self.add_weight(
            name="annotation_kernel", shape=(depth, self.units)
        )
        self.hidden_kernel = self.add_weight(
            name="hidden_kernel", shape=(hidden_size, self.units)
        )
        self.bias = self.add_weight(
            name="bias", shape=(self.units,), initializer="zeros"
        )
        self.energy_kernel = self.add_weight(
            name="energy_kernel", shape=(self.units, 1)
        )

    def project(self, annotations):
        """Returns the keys `W_a a_i`, `(N, L, A)`: once an image."""
        return ops.matmul(annotations, self.annotation_kernel)

    def energies(self, hidden, keys):
        """Returns the energies of equation 4 in float32, `(N, [K,] L)`."""
        query = ops.matmul(hidden, self.hidden_kernel) + self.bias
        if len(hidden.shape) == 3:
            keys = ops.expand_dims(keys, 1)  # (N, 1, L, A)
        compared = ops.tanh(keys + ops.expand_dims(query, -2))
        kernel = self.energy_kernel / self.temperature
        energies = ops.matmul(compared, kernel)
        return ops.cast(ops.squeeze(energies, -1), "float32")

    def look(self, attention, annotations):
        """Returns the context of equation 13, `(N, [K,] D)`."""
        attention = ops.cast(attention, annotations.dtype)
        if len(attention.shape) == 3:
            return ops.matmul(attention, annotations)
        context = ops.matmul(ops.expand_dims(attention, 1), annotations)
        return ops.squeeze(context, 1)

    def call(self, hidden, annotations, keys=None):
        """Attends once.

        Args:
            hidden: `h_(t-1)`, `(N, U)` or `(N, K, U)`.
            annotations: `(N, L, D)`.
            keys: What `project(annotations)` returned, to save the work.

        Returns:
            The context, `(N, [K,] D)`, and the attention in float32,
            `(N, [K,] L)`, which is positive and sums to one.
        """
        if keys is None:
            keys = self.project(annotations)
        attention = ops.softmax(self.energies(hidden, keys), axis=-1)
        return self.look(attention, annotations), attention

    def compute_output_shape(self, hidden_shape, annotations_shape):
        """Returns the shapes of the context and of the attention."""
        batch = tuple(hidden_shape[:-1])
        return (
            (*batch, annotations_shape[-1]),
            (*batch, annotations_shape[-2]),
        )

    def get_config(self):
        """Returns what rebuilds the layer."""
        return {
            **super().get_config(),
            "units": self.units,
            "temperature": self.temperature,
        }
