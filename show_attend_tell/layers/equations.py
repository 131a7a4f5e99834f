"""Equations 1 to 6 and 13 of Xu et al. (2015), as functions of tensors.

Training, decoding and exports all run these. The other equations have a layer
each: section 3.1.2 `InitialState`, equation 7 `DeepOutput`, equation 14
`DoublyStochasticRegularizer`; section 4.1 is `location_sampling`.

Shapes: N images, K captions of each, L locations, D annotation size, A
attention units, U LSTM units.
"""

from keras import ops

# exp(2 * 40) is finite in float32, and so is its reciprocal. A sum of key and
# query is inexact only where one is beyond the limit and the other is of about
# the same size with the opposite sign.
_LIMIT = 40.0


def exponential(x):
    """Returns `exp(2 x)`, the form in which equation 4 takes keys, queries."""
    return ops.exp(2.0 * ops.clip(x, -_LIMIT, _LIMIT))


def inverse_sums(keys, query):
    """Returns `r = 1 / (1 + exp(2 k) exp(2 q)) = (1 - tanh(k + q)) / 2`."""
    return 1.0 / (1.0 + ops.expand_dims(keys, 1) * ops.expand_dims(query, 2))


def additive_energies(keys, query, energy_kernel):
    """Equation 4, `e_i = u . tanh(k_i + q)`, less the sum of `u`.

    `tanh(k + q) = 1 - 2 r`, so that keys and query are exponentiated once each
    and a location costs one product and one reciprocal, not a hyperbolic
    tangent. The constant 1 drops out of the softmax. Of the keys
    `exponential(W_a a_i)` `(N, L, A)`, the query `exponential(W_h h + b)`
    `(N, K, A)` and `u` `(A, 1)`; returns `(N, K, L)`.
    """
    r = inverse_sums(keys, query)  # (N, K, L, A)
    n, k, locations, size = ops.shape(r)
    kernel = -2.0 * ops.squeeze(energy_kernel, -1)  # (A,)
    energies = ops.matmul(ops.reshape(r, (-1, size)), kernel)
    return ops.reshape(energies, (n, k, locations))


def attention_weights(energies, mask=None):
    """Equation 5, `(N, K, L)`; exactly zero where `mask` `(N, L)` is false."""
    if mask is not None:
        mask = ops.expand_dims(ops.cast(mask, "bool"), 1)  # (N, 1, L)
        energies = ops.where(mask, energies, -1e30)
    return ops.softmax(energies, axis=-1)


def expected_context(weights, annotations):
    """Equations 6 and 13: `sum_i weights_i a_i`, `(N, K, D)`."""
    return ops.matmul(ops.cast(weights, annotations.dtype), annotations)


def context_gate(hidden, kernel, bias):
    """Section 4.2.1: `beta = sigma(W_beta h + b_beta)`, `(N, K, 1 or D)`."""
    return ops.sigmoid(ops.matmul(hidden, kernel) + bias)


def lstm_gates(preactivations):
    """Equation 1: the input, forget gates, new memory, output gate."""
    input_gate, forget_gate, memory, output_gate = ops.split(
        preactivations, 4, axis=-1
    )  # (N, K, U) each
    return (
        ops.sigmoid(input_gate),
        ops.sigmoid(forget_gate),
        ops.tanh(memory),
        ops.sigmoid(output_gate),
    )


def lstm_state(gates, cell):
    """Equations 2 and 3: `h_t` and `c_t`, `(N, K, U)`."""
    input_gate, forget_gate, memory, output_gate = gates
    cell = forget_gate * cell + input_gate * memory  # eq. 2
    return output_gate * ops.tanh(cell), cell  # eq. 3
