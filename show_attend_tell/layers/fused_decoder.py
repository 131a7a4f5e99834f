"""Runs all steps of the decoder, with a backward pass written by hand.

An optimisation of `LSTMDecoderCell` with `BahdanauAttention`, called T times
(training spends its time here), which touches as little memory as possible:

- No tensor of shape (T, L, A) is stored: the backward pass computes `r` of
  equation 4 again, which is cheaper than reading it back.
- Sums over locations are spelled out in parts, which a compiler then fuses
  with what they sum (three times faster than reading `r` from memory).
- Gradients of all matrices are computed after the loop, as one large product
  over all steps, instead of T small ones.

Time comes first in all its tensors. It equals the cell, differentiated
automatically, and is tested against it.
"""

import functools
import typing

from keras import ops, tree

from show_attend_tell.layers.decoder_outputs import DecodedSequence
from show_attend_tell.layers.equations import (
    additive_energies,
    attention_weights,
    context_gate,
    expected_context,
    exponential,
    inverse_sums,
    lstm_gates,
    lstm_state,
)
from show_attend_tell.layers.location_sampling import (
    AttentionSampling,
    perturbed_log,
    sample_locations,
)


class _Weights(typing.NamedTuple):
    """The weights of `LSTMDecoderCell` that the loop needs."""

    query_kernel: typing.Any  # (U, A)
    query_bias: typing.Any  # (A,)
    energy_kernel: typing.Any  # (A, 1)
    gate_kernel: typing.Any  # (U, 1 or D)
    gate_bias: typing.Any  # (1 or D,)
    context_kernel: typing.Any  # (D, 4U)
    hidden_kernel: typing.Any  # (U, 4U)


class _Steps(typing.NamedTuple):
    """What T steps computed; in the backward pass the gradient of each.

    The gradients of gates, query, gate and attention are those before their
    nonlinearity: of preactivations, of `q`, before sigma, and of the energies.
    """

    gates: typing.Any  # (T, N, K, 4U): after sigma and tanh
    query: typing.Any  # (T, N, K, A): exp(2 q)
    attention: typing.Any  # (T, N, K, L)
    context: typing.Any  # (T, N, K, D): before the gate
    gate: typing.Any  # (T, N, K, 1 or D)


class _Saved(typing.NamedTuple):
    """What the forward pass keeps for the backward pass."""

    hidden: typing.Any  # (T + 1, N, K, U): h_0 to h_T
    cell: typing.Any  # (T + 1, N, K, U): c_0 to c_T
    steps: _Steps
    context_weights: typing.Any  # (T, N, K, L); L = 0 without sampling


def decode_words(
    layer, words, hidden, cell, annotations, sampling=None, jit_compile=True
) -> DecodedSequence:
    """Runs an `LSTMDecoderCell` over the words of K captions of N images.

    `words` are `E y_(t-1)` of every step, `(T, N, K, E)`, `hidden` and `cell`
    the first state `(N, K, U)`, and annotations `(N, L, D)`. With
    `jit_compile` XLA compiles the loop inside a `tf.function`: it fuses the
    attention of a step into one pass over memory.
    """
    import tensorflow as tf  # Not above: the layers run on other backends.

    in_graph = not tf.executing_eagerly()
    run = _compiled_loop() if jit_compile and in_graph else _loop
    return run(
        ops.matmul(words, layer.embedding_kernel) + layer.bias,
        hidden,
        cell,
        annotations,
        ops.matmul(annotations, layer.attention.annotation_kernel),
        _weights_of(layer),
        sampling
        and (sampling.noise, sampling.sampled, sampling.gumbel_temperature),
    )


@functools.cache
def _compiled_loop():
    import tensorflow as tf

    return tf.function(_loop, jit_compile=True, autograph=False)


def _weights_of(layer) -> _Weights:
    if layer.gate == "none":  # sigmoid(0 h + 40) = 1 in float32
        gate_kernel, gate_bias = (
            ops.zeros((layer.units, 1)),
            ops.full((1,), 40.0),
        )
    else:
        gate_kernel, gate_bias = layer.gate_kernel, layer.gate_bias
    weights = _Weights(
        query_kernel=layer.attention.hidden_kernel,
        query_bias=layer.attention.bias,
        energy_kernel=layer.attention.scaled_energy_kernel,
        gate_kernel=gate_kernel,
        gate_bias=gate_bias,
        context_kernel=layer.context_kernel,
        hidden_kernel=layer.hidden_kernel,
    )
    # A custom gradient must not see variables.
    return _Weights(*map(ops.copy, weights))


def _loop(inputs, hidden, cell, annotations, keys, weights, sampling):
    """Returns a `DecodedSequence`, differentiable in all but the sampling.

    `inputs` are `E y W_y + b` of every step, `(T, N, K, 4U)`, and `keys` are
    `W_a a_i`, `(N, L, A)`.
    """
    sampling = sampling and AttentionSampling(*sampling)

    @ops.custom_gradient
    def run(inputs, hidden, cell, annotations, keys, *weights):
        weights = _Weights(*weights)
        saved = _forward(
            inputs, hidden, cell, annotations, keys, weights, sampling
        )
        outputs = DecodedSequence(
            hidden=saved.hidden[1:],
            context=saved.steps.gate * saved.steps.context,
            attention=saved.steps.attention,
            gate=saved.steps.gate,
            context_weights=saved.context_weights,
        )

        def gradient(*upstream):
            upstream = DecodedSequence(*upstream)
            return _backward(
                upstream, saved, annotations, keys, weights, sampling
            )

        return tuple(outputs), gradient

    outputs = run(inputs, hidden, cell, annotations, keys, *weights)
    return DecodedSequence(*outputs)


def _forward(
    inputs, hidden, cell, annotations, keys, weights, sampling
) -> _Saved:
    keys = exponential(keys)

    def step(t, hidden, cell, saved):
        query = exponential(
            ops.matmul(hidden, weights.query_kernel) + weights.query_bias
        )  # (N, K, A)
        energies = additive_energies(keys, query, weights.energy_kernel)
        attention = attention_weights(energies)  # (N, K, L)
        context_weights, all_weights = attention, saved.context_weights
        if sampling is not None:
            context_weights = sample_locations(
                attention, _at(sampling.noise, t), sampling.sampled
            )
            all_weights = _update(all_weights, t, context_weights)
        context = expected_context(context_weights, annotations)  # (N, K, D)
        gate = context_gate(hidden, weights.gate_kernel, weights.gate_bias)
        gates = lstm_gates(
            _at(inputs, t)
            + ops.matmul(gate * context, weights.context_kernel)
            + ops.matmul(hidden, weights.hidden_kernel)
        )
        hidden, cell = lstm_state(gates, cell)
        gates = ops.concatenate(gates, axis=-1)  # (N, K, 4U)
        saved = _Saved(
            _update(saved.hidden, t + 1, hidden),
            _update(saved.cell, t + 1, cell),
            _update(
                saved.steps, t, _Steps(gates, query, attention, context, gate)
            ),
            all_weights,
        )
        return t + 1, hidden, cell, saved

    saved = _buffers(inputs, hidden, cell, annotations, weights, sampling)
    saved = _over_steps(inputs, step, (hidden, cell, saved))[-1]
    if sampling is None:
        saved = saved._replace(context_weights=saved.steps.attention)
    return saved


def _buffers(inputs, hidden, cell, annotations, weights, sampling) -> _Saved:
    """Returns what the forward pass fills."""
    steps, n, k, _ = ops.shape(inputs)
    locations = ops.shape(annotations)[1]

    def zeros(size, steps=steps):
        return ops.zeros((steps, n, k, size), dtype=inputs.dtype)

    return _Saved(
        hidden=_update(zeros(hidden.shape[2], steps + 1), 0, hidden),
        cell=_update(zeros(cell.shape[2], steps + 1), 0, cell),
        steps=_Steps(
            gates=ops.zeros_like(inputs),
            query=zeros(weights.query_bias.shape[0]),
            attention=zeros(locations),
            context=zeros(annotations.shape[2]),
            gate=zeros(weights.gate_bias.shape[0]),
        ),
        context_weights=zeros(0 if sampling is None else locations),
    )


def _backward(upstream, saved, annotations, keys, weights, sampling):
    """Returns the gradients of the arguments of `run` in `_loop`."""
    keys = exponential(keys)
    energy_kernel = ops.squeeze(weights.energy_kernel, -1)  # (A,)
    num_steps = ops.shape(saved.steps.gates)[0]

    def step(i, d_hidden, d_cell, d_steps):
        t = num_steps - 1 - i
        now, d_now = _at(saved.steps, t), _at(upstream, t)
        d_gates, d_cell = _lstm_gradient(
            now.gates,
            _at(saved.cell, t),
            _at(saved.cell, t + 1),
            d_hidden + d_now.hidden,
            d_cell,
        )
        d_gated = d_now.context + ops.matmul(
            d_gates, ops.transpose(weights.context_kernel)
        )
        d_gate = _gate_gradient(now, d_gated, d_now.gate)
        d_context = d_gated * now.gate
        d_energies = _energies_gradient(
            now.attention, d_now.attention, d_context, annotations, sampling, t
        )
        weighted = _sum_over_locations(
            lambda r: r - r * r, d_energies, keys, now.query
        )
        d_query = 4.0 * energy_kernel * weighted  # tanh' = 4 r (1 - r)
        d_hidden = (
            ops.matmul(d_gates, ops.transpose(weights.hidden_kernel))
            + ops.matmul(d_query, ops.transpose(weights.query_kernel))
            + ops.matmul(d_gate, ops.transpose(weights.gate_kernel))
        )
        d_steps = _update(
            d_steps, t, _Steps(d_gates, d_query, d_energies, d_context, d_gate)
        )
        return i + 1, d_hidden, d_cell, d_steps

    zero = ops.zeros_like(saved.hidden[0])
    d_steps = tree.map_structure(ops.zeros_like, saved.steps)
    d_hidden, d_cell, d_steps = _over_steps(
        saved.steps.gates, step, (zero, zero, d_steps)
    )
    attended = (keys, saved.steps.query, d_steps.attention)
    d_annotations = ops.einsum(
        "tnkl,tnkd->nld", saved.context_weights, d_steps.context
    )
    d_keys = _keys_gradient(*attended, energy_kernel)
    d_energy_kernel = _energy_kernel_gradient(*attended)
    d_weights = _weights_gradient(saved, d_steps, d_energy_kernel)
    d_inputs = d_steps.gates
    return (d_inputs, d_hidden, d_cell, d_annotations, d_keys, *d_weights)


def _lstm_gradient(gates, cell_before, cell, d_hidden, d_cell):
    """Equations 2 and 3: gradients of the preactivations and of `c_(t-1)`."""
    input_gate, forget_gate, memory, output_gate = ops.split(gates, 4, axis=-1)
    squashed = ops.tanh(cell)
    d_cell = d_cell + d_hidden * output_gate * (1.0 - squashed * squashed)
    d_gates = [
        d_cell * memory * input_gate * (1.0 - input_gate),
        d_cell * cell_before * forget_gate * (1.0 - forget_gate),
        d_cell * input_gate * (1.0 - memory * memory),
        d_hidden * squashed * output_gate * (1.0 - output_gate),
    ]
    return ops.concatenate(d_gates, axis=-1), d_cell * forget_gate


def _gate_gradient(now: _Steps, d_gated, d_gate):
    """Section 4.2.1: the gradient of the gate before sigma."""
    d_value = d_gated * now.context
    if now.gate.shape[-1] == 1:
        d_value = ops.sum(d_value, axis=-1, keepdims=True)
    return (d_value + d_gate) * now.gate * (1.0 - now.gate)


def _energies_gradient(
    attention, d_attention, d_context, annotations, sampling, t
):
    """Equations 13 and 5, and section 4.1: the gradient of the energies."""
    d_weights = ops.matmul(d_context, ops.transpose(annotations, (0, 2, 1)))
    if sampling is None:
        return _softmax_gradient(attention, d_attention + d_weights)
    sampled = ops.expand_dims(sampling.sampled, -1)
    d_energies = _softmax_gradient(
        attention, d_attention + (1.0 - sampled) * d_weights
    )
    temperature = sampling.gumbel_temperature
    if temperature:  # As if the context were of the relaxed sample.
        scores = perturbed_log(attention, _at(sampling.noise, t))
        relaxed = ops.softmax(scores / temperature)
        d_relaxed = _softmax_gradient(relaxed, d_weights)
        d_energies = d_energies + sampled / temperature * d_relaxed
    return d_energies


def _softmax_gradient(softmax, upstream):
    """Returns the gradient of the argument of a softmax."""
    mean = ops.sum(softmax * upstream, axis=-1, keepdims=True)
    return softmax * (upstream - mean)


def _keys_gradient(keys, queries, d_energies, energy_kernel):
    """Returns the gradient of the keys before `exponential`, `(N, L, A)`."""

    def step(t, total):
        weight = ops.expand_dims(_at(d_energies, t), -1)
        r = inverse_sums(keys, _at(queries, t))  # (N, K, L, A)
        return t + 1, total + ops.sum(weight * (r - r * r), axis=1)

    (total,) = _over_steps(queries, step, (ops.zeros_like(keys),))
    return 4.0 * energy_kernel * total


def _energy_kernel_gradient(keys, queries, d_energies):
    """Returns the gradient of `u`, `(A, 1)`."""

    def step(t, total):
        weighted = _sum_over_locations(
            lambda r: r, _at(d_energies, t), keys, _at(queries, t)
        )
        return t + 1, total + ops.sum(weighted, (0, 1))

    zero = ops.zeros_like(queries[0, 0, 0])
    (total,) = _over_steps(queries, step, (zero,))
    # tanh = 1 - 2 r, and the gradients of the energies of a step sum to zero.
    return ops.expand_dims(-2.0 * total, -1)


def _weights_gradient(
    saved: _Saved, d_steps: _Steps, d_energy_kernel
) -> _Weights:
    before = saved.hidden[:-1]
    gated = saved.steps.gate * saved.steps.context
    return _Weights(
        query_kernel=_outer(before, d_steps.query),
        query_bias=ops.sum(d_steps.query, (0, 1, 2)),
        energy_kernel=d_energy_kernel,
        gate_kernel=_outer(before, d_steps.gate),
        gate_bias=ops.sum(d_steps.gate, (0, 1, 2)),
        context_kernel=_outer(gated, d_steps.gates),
        hidden_kernel=_outer(before, d_steps.gates),
    )


def _sum_over_locations(function, weight, keys, query):
    """Returns `sum_i weight_i function(r_i)`, `(N, K, A)`."""
    n, locations, size = ops.shape(keys)
    parts = max(p for p in range(1, 17) if locations % p == 0)
    keys = ops.reshape(keys, (n, parts, -1, size))
    weight = ops.reshape(weight, (n, weight.shape[1], parts, -1))
    total = 0.0
    for p in range(parts):
        r = inverse_sums(keys[:, p], query)  # (N, K, L / parts, A)
        total = total + weight[:, :, p, :, None] * function(r)
    return ops.sum(total, axis=2)


def _outer(left, right):
    """Returns the sum over all steps and captions of `left right^T`."""
    left = ops.reshape(left, (-1, left.shape[-1]))
    right = ops.reshape(right, (-1, right.shape[-1]))
    return ops.matmul(ops.transpose(left), right)


def _at(structure, t):
    """Returns step t of one tensor or several."""
    return tree.map_structure(lambda x: ops.take(x, t, axis=0), structure)


def _update(structure, t, values):
    """Returns one tensor or several with new values at step t."""

    def update(x, value):
        start = (t,) + (0,) * (len(x.shape) - 1)
        return ops.slice_update(x, start, ops.expand_dims(value, 0))

    return tree.map_structure(update, structure, values)


def _over_steps(like, step, first):
    """Runs `step(t, *state)` for each step of a tensor; returns the state."""
    num_steps = ops.shape(like)[0]
    return ops.while_loop(lambda t, *_: t < num_steps, step, (0, *first))[1:]
