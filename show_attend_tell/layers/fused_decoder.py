"""All steps of the decoder, with its backward pass written by hand.

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


class Weights(typing.NamedTuple):
    """The weights of `LSTMDecoderCell` that the loop needs."""

    query_kernel: typing.Any  # (U, A)
    query_bias: typing.Any  # (A,)
    energy_kernel: typing.Any  # (A, 1)
    gate_kernel: typing.Any  # (U, 1 or D)
    gate_bias: typing.Any  # (1 or D,)
    context_kernel: typing.Any  # (D, 4U)
    hidden_kernel: typing.Any  # (U, 4U)


class Outputs(typing.NamedTuple):
    """The results of T steps; see `DecodedSequence`."""

    hidden: typing.Any  # (T, N, K, U)
    context: typing.Any  # (T, N, K, D), gated
    attention: typing.Any  # (T, N, K, L)
    gate: typing.Any  # (T, N, K, 1 or D)
    context_weights: typing.Any  # (T, N, K, L)


class _Saved(typing.NamedTuple):
    """What the forward pass keeps for the backward pass."""

    hidden: typing.Any  # (T + 1, N, K, U): h_0 to h_T
    cell: typing.Any  # (T + 1, N, K, U): c_0 to c_T
    gates: typing.Any  # (T, N, K, 4U): after sigma and tanh
    query: typing.Any  # (T, N, K, A): exp(2 q)
    attention: typing.Any  # (T, N, K, L)
    context: typing.Any  # (T, N, K, D): before the gate
    gate: typing.Any  # (T, N, K, 1 or D)
    context_weights: typing.Any  # (T, N, K, L); L = 0 without sampling


def decode_words(
    cell, words, hidden, memory, annotations, sampling=None, jit_compile=True
) -> Outputs:
    """Runs a cell over the words of K captions of each of N images.

    Args:
        cell: An `LSTMDecoderCell` with `BahdanauAttention`.
        words: `E y_(t-1)` of every step, `(T, N, K, E)` float32.
        hidden: `h_0`, `(N, K, U)`.
        memory: `c_0`, `(N, K, U)`.
        annotations: `(N, L, D)`.
        sampling: `AttentionSampling`; `None` for soft attention.
        jit_compile: Whether XLA compiles the loop inside a `tf.function`. It
            fuses the attention of a step into one pass over memory.
    """
    run = _compiled_loop() if jit_compile and _in_graph() else decoder_loop
    sampling = sampling or AttentionSampling(None, None)
    return run(
        ops.matmul(words, cell.embedding_kernel) + cell.bias,
        hidden,
        memory,
        annotations,
        ops.matmul(annotations, cell.attention.annotation_kernel),
        _weights_of(cell),
        sampling.noise,
        sampling.sampled,
        sampling.gumbel_temperature,
    )


def _in_graph():
    import tensorflow as tf

    return not tf.executing_eagerly()


@functools.cache
def _compiled_loop():
    import tensorflow as tf

    return tf.function(decoder_loop, jit_compile=True, autograph=False)


def _weights_of(cell) -> Weights:
    if cell.gate == "none":  # sigmoid(0 h + 40) = 1 in float32
        gate_kernel = ops.zeros((cell.units, 1))
        gate_bias = ops.full((1,), 40.0)
    else:
        gate_kernel, gate_bias = cell.gate_kernel, cell.gate_bias
    weights = Weights(
        query_kernel=cell.attention.hidden_kernel,
        query_bias=cell.attention.bias,
        energy_kernel=cell.attention.scaled_energy_kernel,
        gate_kernel=gate_kernel,
        gate_bias=gate_bias,
        context_kernel=cell.context_kernel,
        hidden_kernel=cell.hidden_kernel,
    )
    # A custom gradient must not see variables.
    return Weights(*map(ops.copy, weights))


def decoder_loop(
    inputs,
    hidden,
    cell,
    annotations,
    keys,
    weights: Weights,
    noise=None,
    sampled=None,
    gumbel_temperature=0.0,
) -> Outputs:
    """Runs the loop on tensors, differentiable in all but the randomness.

    Args:
        inputs: `E y W_y + b` of every step, `(T, N, K, 4U)` float32.
        hidden: `h_0`, `(N, K, U)`.
        cell: `c_0`, `(N, K, U)`.
        annotations: `(N, L, D)`.
        keys: `W_a a_i`, `(N, L, A)`.
        weights: As tensors.
        noise: As the next two see `AttentionSampling`; `None` for soft.
        sampled: See `AttentionSampling`.
        gumbel_temperature: See `AttentionSampling`.
    """
    sampling = None
    if noise is not None:
        sampling = AttentionSampling(noise, sampled, gumbel_temperature)

    @ops.custom_gradient
    def run(inputs, hidden, cell, annotations, keys, *weights):
        weights = Weights(*weights)
        saved = _forward(
            inputs, hidden, cell, annotations, keys, weights, sampling
        )
        outputs = Outputs(
            saved.hidden[1:],
            saved.gate * saved.context,
            saved.attention,
            saved.gate,
            saved.context_weights,
        )

        def gradient(*upstream):
            return _backward(
                Outputs(*upstream), saved, annotations, keys, weights, sampling
            )

        return tuple(outputs), gradient

    return Outputs(*run(inputs, hidden, cell, annotations, keys, *weights))


def _forward(
    inputs, hidden, cell, annotations, keys, weights, sampling
) -> _Saved:
    keys = exponential(keys)

    def step(t, hidden, cell, saved):
        query = exponential(  # (N, K, A)
            ops.matmul(hidden, weights.query_kernel) + weights.query_bias
        )
        energies = additive_energies(keys, query, weights.energy_kernel)
        attention = attention_weights(energies)  # (N, K, L)
        context_weights = attention
        if sampling is not None:
            context_weights = sample_locations(
                attention, _at(sampling.noise, t), sampling.sampled
            )
        context = expected_context(context_weights, annotations)  # (N, K, D)
        gate = context_gate(hidden, weights.gate_kernel, weights.gate_bias)
        gates = lstm_gates(
            _at(inputs, t)
            + ops.matmul(gate * context, weights.context_kernel)
            + ops.matmul(hidden, weights.hidden_kernel)
        )
        hidden, cell = lstm_state(gates, cell)
        saved = _Saved(
            hidden=_update(saved.hidden, t + 1, hidden),
            cell=_update(saved.cell, t + 1, cell),
            gates=_update(saved.gates, t, ops.concatenate(gates, axis=-1)),
            query=_update(saved.query, t, query),
            attention=_update(saved.attention, t, attention),
            context=_update(saved.context, t, context),
            gate=_update(saved.gate, t, gate),
            context_weights=saved.context_weights
            if sampling is None
            else _update(saved.context_weights, t, context_weights),
        )
        return t + 1, hidden, cell, saved

    steps = ops.shape(inputs)[0]
    saved = _empty(inputs, hidden, cell, annotations, weights, sampling)
    saved = ops.while_loop(
        lambda t, *_: t < steps, step, (0, hidden, cell, saved)
    )[-1]
    if sampling is None:
        saved = saved._replace(context_weights=saved.attention)
    return saved


def _empty(inputs, hidden, cell, annotations, weights, sampling) -> _Saved:
    """Returns the buffers that the forward pass fills."""
    steps, n, k, _ = ops.shape(inputs)
    locations = ops.shape(annotations)[1]

    def zeros(size, steps=steps):
        return ops.zeros((steps, n, k, size), dtype=inputs.dtype)

    return _Saved(
        hidden=_update(zeros(hidden.shape[2], steps + 1), 0, hidden),
        cell=_update(zeros(cell.shape[2], steps + 1), 0, cell),
        gates=ops.zeros_like(inputs),
        query=zeros(weights.query_bias.shape[0]),
        attention=zeros(locations),
        context=zeros(annotations.shape[2]),
        gate=zeros(weights.gate_bias.shape[0]),
        context_weights=zeros(0 if sampling is None else locations),
    )


class _StepGradients(typing.NamedTuple):
    """Gradients of one step, or of T steps, that weights' are made of."""

    preactivations: typing.Any  # (N, K, 4U)
    query: typing.Any  # (N, K, A): before `exponential`
    gate: typing.Any  # (N, K, 1 or D): before sigma
    context: typing.Any  # (N, K, D): before the gate
    energies: typing.Any  # (N, K, L)


def _backward(
    upstream: Outputs, saved: _Saved, annotations, keys, weights, sampling
):
    """Returns the gradients of the arguments of `decoder_loop`."""
    steps = ops.shape(saved.gates)[0]
    keys = exponential(keys)
    energy_kernel = ops.squeeze(weights.energy_kernel, -1)  # (A,)

    def step(i, d_hidden, d_cell, d_steps):
        t = steps - 1 - i
        now, above = _at(saved, t), _at(upstream, t)
        d_hidden = d_hidden + above.hidden
        d_preactivations, d_cell = _lstm_gradient(
            now, _at(saved.cell, t + 1), d_hidden, d_cell
        )
        d_gated = above.context + ops.matmul(
            d_preactivations, ops.transpose(weights.context_kernel)
        )
        d_gate, d_context = _gate_gradient(now, d_gated, above.gate)
        d_energies = _energies_gradient(
            now, d_context, above.attention, annotations, sampling, t
        )
        # tanh' = 4 r (1 - r)
        d_query = (
            4.0
            * energy_kernel
            * _sum_over_locations(
                lambda r: r - r * r, d_energies, keys, now.query
            )
        )
        d_hidden = (
            ops.matmul(d_preactivations, ops.transpose(weights.hidden_kernel))
            + ops.matmul(d_query, ops.transpose(weights.query_kernel))
            + ops.matmul(d_gate, ops.transpose(weights.gate_kernel))
        )
        d_step = (d_preactivations, d_query, d_gate, d_context, d_energies)
        d_steps = _StepGradients(
            *(
                _update(x, t, value)
                for x, value in zip(d_steps, d_step, strict=True)
            )
        )
        return i + 1, d_hidden, d_cell, d_steps

    zero = ops.zeros_like(saved.hidden[0])
    like = (
        saved.gates,
        saved.query,
        saved.gate,
        saved.context,
        saved.attention,
    )
    d_steps = _StepGradients(*map(ops.zeros_like, like))
    _, d_hidden, d_cell, d_steps = ops.while_loop(
        lambda i, *_: i < steps, step, (0, zero, zero, d_steps)
    )
    attended = (keys, saved.query, d_steps.energies)
    d_keys = _keys_gradient(*attended, energy_kernel)
    d_annotations = ops.einsum(
        "tnkl,tnkd->nld", saved.context_weights, d_steps.context
    )
    d_weights = _weights_gradient(
        saved, d_steps, _energy_kernel_gradient(*attended)
    )
    d_inputs = d_steps.preactivations
    return (d_inputs, d_hidden, d_cell, d_annotations, d_keys, *d_weights)


def _lstm_gradient(now: _Saved, cell, d_hidden, d_cell):
    """Equations 2 and 3: gradients of the preactivations and of `c_(t-1)`."""
    input_gate, forget_gate, memory, output_gate = ops.split(
        now.gates, 4, axis=-1
    )
    squashed = ops.tanh(cell)
    d_cell = d_cell + d_hidden * output_gate * (1.0 - squashed * squashed)
    d_preactivations = ops.concatenate(
        [
            d_cell * memory * input_gate * (1.0 - input_gate),
            d_cell * now.cell * forget_gate * (1.0 - forget_gate),
            d_cell * input_gate * (1.0 - memory * memory),
            d_hidden * squashed * output_gate * (1.0 - output_gate),
        ],
        axis=-1,
    )
    return d_preactivations, d_cell * forget_gate


def _gate_gradient(now: _Saved, d_gated, d_gate):
    """Section 4.2.1: gradients of the gate before sigma, of the context."""
    d_value = d_gated * now.context
    if now.gate.shape[-1] == 1:
        d_value = ops.sum(d_value, axis=-1, keepdims=True)
    d_gate = (d_value + d_gate) * now.gate * (1.0 - now.gate)
    return d_gate, d_gated * now.gate


def _energies_gradient(
    now: _Saved, d_context, d_attention, annotations, sampling, t
):
    """Equations 13 and 5, and section 4.1: the gradient of the energies."""
    d_weights = ops.matmul(d_context, ops.transpose(annotations, (0, 2, 1)))
    if sampling is None:
        return _softmax_gradient(now.attention, d_attention + d_weights)
    sampled = ops.expand_dims(sampling.sampled, -1)
    d_attention = d_attention + (1.0 - sampled) * d_weights
    d_energies = _softmax_gradient(now.attention, d_attention)
    temperature = sampling.gumbel_temperature
    if not temperature:
        return d_energies
    # Straight through: as if the context were of the relaxed sample.
    scores = perturbed_log(now.attention, _at(sampling.noise, t))
    relaxed = ops.softmax(scores / temperature)
    return d_energies + sampled / temperature * (
        _softmax_gradient(relaxed, d_weights)
    )


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

    total = _over_steps(step, queries, ops.zeros_like(keys))
    return 4.0 * energy_kernel * total


def _energy_kernel_gradient(keys, queries, d_energies):
    """Returns the gradient of `u`, `(A,)`."""

    def step(t, total):
        weighted = _sum_over_locations(
            lambda r: r, _at(d_energies, t), keys, _at(queries, t)
        )
        return t + 1, total + ops.sum(weighted, (0, 1))

    # tanh = 1 - 2 r, and the gradients of the energies of a step sum to zero.
    total = _over_steps(step, queries, ops.zeros_like(queries[0, 0, 0]))
    return -2.0 * total


def _weights_gradient(saved: _Saved, d_steps: _StepGradients, d_energy_kernel):
    before = saved.hidden[:-1]
    return Weights(
        query_kernel=_outer(before, d_steps.query),
        query_bias=ops.sum(d_steps.query, (0, 1, 2)),
        energy_kernel=ops.expand_dims(d_energy_kernel, -1),
        gate_kernel=_outer(before, d_steps.gate),
        gate_bias=ops.sum(d_steps.gate, (0, 1, 2)),
        context_kernel=_outer(
            saved.gate * saved.context, d_steps.preactivations
        ),
        hidden_kernel=_outer(before, d_steps.preactivations),
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


def _at(structure, step):
    """Returns one step of a tensor, or of each of several."""
    return tree.map_structure(lambda x: ops.take(x, step, axis=0), structure)


def _update(buffer, step, value):
    start = (step,) + (0,) * (len(buffer.shape) - 1)
    return ops.slice_update(buffer, start, ops.expand_dims(value, 0))


def _over_steps(step, queries, zero):
    steps = ops.shape(queries)[0]
    return ops.while_loop(lambda t, _: t < steps, step, (0, zero))[1]
