"""An attention that somebody else wrote, in place of `BahdanauAttention`."""

import keras
from keras import ops


@keras.saving.register_keras_serializable(package="tests")
class DotProductAttention(keras.layers.Layer):
    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.query = keras.layers.Dense(
            units, name="query", dtype=self.dtype_policy
        )

    def call(self, hidden, annotations, mask=None):
        query = self.query(hidden)  # (N, K, D), units = D
        energies = ops.matmul(query, ops.transpose(annotations, (0, 2, 1)))
        if mask is not None:
            energies = ops.where(mask[:, None], energies, -1e9)
        attention = ops.softmax(energies)
        return ops.matmul(attention, annotations), attention

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="tests")
class ScaledDotProductAttention(DotProductAttention):
    """The same with keys, which it projects once an image."""

    def __init__(self, units, **kwargs):
        super().__init__(units, **kwargs)
        self.key = keras.layers.Dense(
            units, name="key", dtype=self.dtype_policy
        )

    def project(self, annotations):
        return self.key(annotations) / self.units**0.5

    def call(self, hidden, annotations, keys=None):
        keys = self.project(annotations) if keys is None else keys
        _, attention = super().call(hidden, keys)
        return ops.matmul(attention, annotations), attention
