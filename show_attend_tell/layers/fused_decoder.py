"""The decoder over a whole caption, with its backward pass written out.

Training spends its time here, so this is `LSTMDecoderCell` T times over,
arranged to touch as little memory as possible:

- `tanh(k + q) = 1 - 2 r` with `r = 1 / (1 + exp(2 k) exp(2 q))`: the
  exponentials of keys and queries are taken once each, and a location costs
  one product and one reciprocal instead of one hyperbolic tangent. (The
  constant 1 drops out of the softmax.)
- No tensor of shape (T, L, A) is ever stored: the backward pass computes `r`
  anew, which is cheaper than reading it back.
- Sums over locations are spelled out in parts, which a compiler then fuses
  with what they sum (three times faster than reading `r` from memory).
- Gradients of all matrices are taken after the loop, as one large product
  over all steps, instead of T small ones.

The cell, differentiated automatically, is its test.
"""

import typing

from keras import ops

from show_attend_tell.layers.lstm_decoder_cell import DecoderStep

# exp(2 * 40) is finite in float32, and so is its reciprocal; tanh has long
# been +-1 in float32 for such arguments. Only where one lies beyond
# it and the other takes that back is their sum not what it was.
_LIMIT = 40.0


class Recurrence(typing.NamedTuple):
    """What the decoder did at each of T steps; time comes first.

    Attributes:
        hidden: `(T, N, K, U)`.
        context: The gated contexts, `(T, N, K, D)`.
        attention: `(T, N, K, L)`.
        gate: `(T, N, K, 1 or D)`.
        looking: The weights that made the context, `(T, N, K, L)`: the
            attention itself, or one at the place that was drawn. No
            gradient comes by it.
    """

    hidden: typing.Any
    context: typing.Any
    attention: typing.Any
    gate: typing.Any
    looking: typing.Any


class Draws(typing.NamedTuple):
    """Chance for hard attention, see `draw`.

    Attributes:
        noise: Gumbel noise, `(T, N, K, L)`.
        drawn: `(N, K)` float, one for the captions of which a place is
            drawn at every step, zero for those that see the expectation.
    """

    noise: typing.Any
    drawn: typing.Any


class Weights(typing.NamedTuple):
    """The weights of `LSTMDecoderCell` that the loop itself needs."""

    query_kernel: typing.Any  # (U, A)
    query_bias: typing.Any  # (A,)
    energy_kernel: typing.Any  # (A, 1)
    gate_kernel: typing.Any  # (U, 1 or D)
    gate_bias: typing.Any  # (1 or D,)
    context_kernel: typing.Any  # (D, 4U)
    hidden_kernel: typing.Any  # (U, 4U)


def unroll(
    inputs,
    hidden,
    cell,
    annotations,
    keys,
    weights: Weights,
    draws: Draws | None = None,
    gumbel_temperature: float = 0.0,
):
    """Runs the decoder over the words of K captions of each of N images.

    All tensors are float32.

    Args:
        inputs: `E y W_y + b` of every step, `(T, N, K, 4U)`.
        hidden: `h_0`, `(N, K, U)`.
        cell: `c_0`, `(N, K, U)`.
        annotations: `(N, L, D)`.
        keys: `W_a a_i`, `(N, L, A)`.
        weights: The weights of the loop, as tensors (a custom gradient must
            not see variables).
        draws: For hard attention; `None` for soft.
        gumbel_temperature: Temperature of the straight-through Gumbel estimator; 0
            sends no gradient through what was drawn.

    Returns:
        A `Recurrence`, differentiable in every argument but the draws.
    """

    @ops.custom_gradient
    def run(inputs, hidden, cell, annotations, keys, *weights):
        weights = Weights(*weights)
        states, gates, looks = _forward(
            inputs, hidden, cell, annotations, keys, weights, draws
        )
        outputs = Recurrence(
            states.hidden[1:],
            looks.gate * looks.context,
            looks.attention,
            looks.gate,
            looks.looking,
        )

        def gradient(*upstream):
            return _backward(
                Recurrence(*upstream),
                states,
                gates,
                looks,
                annotations,
                keys,
                weights,
                draws,
                gumbel_temperature,
            )

        return tuple(outputs), gradient

    return Recurrence(*run(inputs, hidden, cell, annotations, keys, *weights))


def step(
    inputs,
    hidden,
    cell,
    annotations,
    exponentials,
    weights: Weights,
    look=lambda attention: attention,
):
    """Takes one step for K captions of each of N images, as `unroll` does.

    All tensors are float32.

    Args:
        inputs: `E y W_y + b`, `(N, K, 4U)`.
        hidden: `h_(t-1)`, `(N, K, U)`.
        cell: `c_(t-1)`, `(N, K, U)`.
        annotations: `(N, L, D)`.
        exponentials: `exponential(W_a a_i)`, `(N, L, A)`.
        weights: The weights of the loop.
        look: Takes the attention and returns the weights that make the
            context.

    Returns:
        A `DecoderStep`.
    """
    return _advance(
        inputs, hidden, cell, annotations, exponentials, weights, look
    )[0]


class _States(typing.NamedTuple):
    hidden: typing.Any  # (T + 1, N, K, U): h_0 to h_T
    cell: typing.Any  # (T + 1, N, K, U): c_0 to c_T


class _Looks(typing.NamedTuple):
    query: typing.Any  # (T, N, K, A): exp(2 q)
    attention: typing.Any  # (T, N, K, L)
    context: typing.Any  # (T, N, K, D): before the gate
    gate: typing.Any  # (T, N, K, 1 or D)
    looking: typing.Any  # (T, N, K, L)


def exponential(x):
    """Returns `exp(2 x)`, of keys and queries that `tanh` would add."""
    return ops.exp(2.0 * ops.clip(x, -_LIMIT, _LIMIT))


def _energies(keys, query, energy_kernel):
    """Returns `u . r` with `r = (1 - tanh(k + q)) / 2`, `(N, K, L)`."""
    r = 1.0 / (1.0 + ops.expand_dims(keys, 1) * ops.expand_dims(query, 2))
    n, k, locations, size = ops.shape(r)
    energies = ops.matmul(ops.reshape(r, (-1, size)), energy_kernel)
    return ops.reshape(energies, (n, k, locations))


def _sum_over_locations(function, weight, keys, query):
    """Returns `sum_i weight_i function(r_i)`, `(N, K, A)`."""
    n, locations, size = ops.shape(keys)
    parts = max(p for p in range(1, 17) if locations % p == 0)
    keys = ops.reshape(keys, (n, parts, -1, size))
    weight = ops.reshape(weight, (n, weight.shape[1], parts, -1))
    query = ops.expand_dims(query, 2)
    total = 0.0
    for p in range(parts):
        r = 1.0 / (1.0 + keys[:, None, p] * query)
        total = total + weight[:, :, p, :, None] * function(r)
    return ops.sum(total, axis=2)


def _split_activated(preactivations):
    into, forget, new, out = ops.split(preactivations, 4, axis=-1)
    return (
        ops.sigmoid(into),
        ops.sigmoid(forget),
        ops.tanh(new),
        ops.sigmoid(out),
    )


def _advance(inputs, hidden, cell, annotations, exponentials, weights, look):
    """Returns a step, and of its inside what the backward pass needs."""
    query = exponential(
        ops.matmul(hidden, weights.query_kernel) + weights.query_bias
    )
    # u . tanh = constant - 2 u . r
    energy_kernel = -2.0 * ops.squeeze(weights.energy_kernel, -1)
    attention = ops.softmax(
        _energies(exponentials, query, energy_kernel), axis=-1
    )
    looking = look(attention)
    context = ops.matmul(looking, annotations)
    gate = ops.sigmoid(
        ops.matmul(hidden, weights.gate_kernel) + weights.gate_bias
    )
    gated = gate * context
    activated = _split_activated(
        inputs
        + ops.matmul(gated, weights.context_kernel)
        + ops.matmul(hidden, weights.hidden_kernel)
    )
    into, forget, new, out = activated
    cell = forget * cell + into * new
    hidden = out * ops.tanh(cell)
    step = DecoderStep(hidden, cell, gated, attention, gate)
    return step, activated, query, context, looking


def _buffer(steps, like):
    return ops.zeros((steps, *ops.shape(like)), dtype=like.dtype)


def _put(buffer, step, value):
    start = (step,) + (0,) * (len(buffer.shape) - 1)
    return ops.slice_update(buffer, start, ops.expand_dims(value, 0))


def draw(attention, noise, drawn):
    """Draws where to look, `s_t ~ Multinoulli(alpha_t)` (section 4.1).

    Args:
        attention: `(N, K, L)`.
        noise: Gumbel noise, `(N, K, L)`.
        drawn: `(N, K)` float; where zero, nothing is drawn.

    Returns:
        `(N, K, L)`: one at the place that was drawn, or the attention.
    """
    place = ops.argmax(_perturbed(attention, noise), axis=-1)
    one_hot = ops.one_hot(place, attention.shape[-1], dtype=attention.dtype)
    return ops.where(ops.expand_dims(drawn, -1) > 0, one_hot, attention)


def _perturbed(attention, noise):
    return ops.log(ops.maximum(attention, 1e-30)) + noise


def _forward(inputs, hidden, cell, annotations, keys, weights, draws):
    steps = ops.shape(inputs)[0]
    keys = exponential(keys)

    def step(t, hidden, cell, states, gates, looks):
        def look(attention):
            if draws is None:
                return attention
            noise = ops.take(draws.noise, t, axis=0)
            return draw(attention, noise, draws.drawn)

        now, activated, query, context, looking = _advance(
            ops.take(inputs, t, axis=0),
            hidden,
            cell,
            annotations,
            keys,
            weights,
            look,
        )
        states = _States(
            _put(states.hidden, t + 1, now.hidden),
            _put(states.cell, t + 1, now.cell),
        )
        gates = _put(gates, t, ops.concatenate(activated, axis=-1))
        looks = _Looks(
            _put(looks.query, t, query),
            _put(looks.attention, t, now.attention),
            _put(looks.context, t, context),
            _put(looks.gate, t, now.gate),
            looks.looking if draws is None else _put(looks.looking, t, looking),
        )
        return t + 1, now.hidden, now.cell, states, gates, looks

    states = _States(
        _put(_buffer(steps + 1, hidden), 0, hidden),
        _put(_buffer(steps + 1, cell), 0, cell),
    )
    n, k = ops.shape(hidden)[0], ops.shape(hidden)[1]

    def empty(size):
        return ops.zeros((steps, n, k, size), dtype=inputs.dtype)

    looks = _Looks(
        empty(weights.query_bias.shape[0]),
        empty(ops.shape(annotations)[1]),
        empty(annotations.shape[2]),
        empty(weights.gate_bias.shape[0]),
        empty(ops.shape(annotations)[1] if draws is not None else 0),
    )
    _, _, _, states, gates, looks = ops.while_loop(
        lambda t, *_: t < steps,
        step,
        (0, hidden, cell, states, ops.zeros_like(inputs), looks),
    )
    if draws is None:
        looks = looks._replace(looking=looks.attention)
    return states, gates, looks


def _backward(
    upstream,
    states,
    gates,
    looks,
    annotations,
    keys,
    weights,
    draws,
    gumbel_temperature,
):
    steps = ops.shape(gates)[0]
    keys = exponential(keys)
    energy_kernel = ops.squeeze(weights.energy_kernel, -1)  # (A,)

    def step(i, d_hidden, d_cell, grads):
        t = steps - 1 - i

        def at(buffer):
            return ops.take(buffer, t, axis=0)

        into, forget, new, out = ops.split(at(gates), 4, axis=-1)
        cell_before, cell = at(states.cell), ops.take(states.cell, t + 1, 0)
        query, attention, context, gate, _ = (at(x) for x in looks)

        # Equations 2 and 3.
        d_hidden = d_hidden + at(upstream.hidden)
        squashed = ops.tanh(cell)
        d_cell = d_cell + d_hidden * out * (1.0 - squashed * squashed)
        d_gates = ops.concatenate(
            [
                d_cell * new * into * (1.0 - into),
                d_cell * cell_before * forget * (1.0 - forget),
                d_cell * into * (1.0 - new * new),
                d_hidden * squashed * out * (1.0 - out),
            ],
            axis=-1,
        )
        d_cell = d_cell * forget

        # Equation 1 and the gate of section 4.2.1.
        d_gated = at(upstream.context) + ops.matmul(
            d_gates, ops.transpose(weights.context_kernel)
        )
        d_gate = d_gated * context
        if weights.gate_bias.shape[0] == 1:
            d_gate = ops.sum(d_gate, axis=-1, keepdims=True)
        d_gate = (d_gate + at(upstream.gate)) * gate * (1.0 - gate)
        d_context = d_gated * gate

        # Equations 13, 5 and 4.
        d_looking = ops.matmul(d_context, ops.transpose(annotations, (0, 2, 1)))
        d_attention = at(upstream.attention)
        if draws is None:
            d_attention = d_attention + d_looking
        else:
            drawn = ops.expand_dims(draws.drawn, -1)
            d_attention = d_attention + (1.0 - drawn) * d_looking
        d_energies = _softmax_gradient(attention, d_attention)
        if draws is not None and gumbel_temperature:
            # Straight through: as if the context were of the relaxed draw.
            relaxed = ops.softmax(
                _perturbed(attention, at(draws.noise)) / gumbel_temperature
            )
            d_energies = d_energies + drawn / gumbel_temperature * (
                _softmax_gradient(relaxed, d_looking)
            )
        # tanh' = 4 r (1 - r)
        d_query = (
            4.0
            * energy_kernel
            * _sum_over_locations(lambda r: r - r * r, d_energies, keys, query)
        )

        d_hidden = (
            ops.matmul(d_gates, ops.transpose(weights.hidden_kernel))
            + ops.matmul(d_query, ops.transpose(weights.query_kernel))
            + ops.matmul(d_gate, ops.transpose(weights.gate_kernel))
        )
        values = (d_gates, d_query, d_gate, d_context, d_energies)
        grads = tuple(
            _put(buffer, t, value)
            for buffer, value in zip(grads, values, strict=True)
        )
        return i + 1, d_hidden, d_cell, grads

    zero = ops.zeros_like(states.hidden[0])
    _, d_hidden, d_cell, grads = ops.while_loop(
        lambda i, *_: i < steps,
        step,
        (
            0,
            zero,
            zero,
            (
                ops.zeros_like(gates),
                ops.zeros_like(looks.query),
                ops.zeros_like(looks.gate),
                ops.zeros_like(looks.context),
                ops.zeros_like(looks.attention),
            ),
        ),
    )
    d_gates, d_query, d_gate, d_context, d_energies = grads
    before = states.hidden[:-1]
    looked = (keys, looks.query, d_energies)
    d_keys = _keys_gradient(*looked, energy_kernel)
    d_energy_kernel = _energy_kernel_gradient(*looked)
    d_weights = Weights(
        _outer(before, d_query),
        ops.sum(d_query, (0, 1, 2)),
        ops.expand_dims(d_energy_kernel, -1),
        _outer(before, d_gate),
        ops.sum(d_gate, (0, 1, 2)),
        _outer(looks.gate * looks.context, d_gates),
        _outer(before, d_gates),
    )
    d_annotations = ops.einsum("tnkl,tnkd->nld", looks.looking, d_context)
    return (d_gates, d_hidden, d_cell, d_annotations, d_keys, *d_weights)


def _softmax_gradient(softmax, upstream):
    """Returns the gradient of what the softmax was taken of."""
    mean = ops.sum(softmax * upstream, axis=-1, keepdims=True)
    return softmax * (upstream - mean)


def _keys_gradient(keys, queries, d_energies, energy_kernel):
    """Returns the gradient of the keys, `(N, L, A)`."""

    def step(t, total):
        query = ops.expand_dims(ops.take(queries, t, axis=0), 2)
        weight = ops.expand_dims(ops.take(d_energies, t, axis=0), -1)
        r = 1.0 / (1.0 + ops.expand_dims(keys, 1) * query)
        return t + 1, total + ops.sum(weight * (r - r * r), axis=1)

    total = _over_steps(step, queries, ops.zeros_like(keys))
    return 4.0 * energy_kernel * total


def _energy_kernel_gradient(keys, queries, d_energies):
    """Returns the gradient of `u`, `(A,)`."""

    def step(t, total):
        weighted = _sum_over_locations(
            lambda r: r,
            ops.take(d_energies, t, axis=0),
            keys,
            ops.take(queries, t, axis=0),
        )
        return t + 1, total + ops.sum(weighted, (0, 1))

    # tanh = 1 - 2 r, and the gradients of the energies of a step sum to zero.
    total = _over_steps(step, queries, ops.zeros_like(queries[0, 0, 0]))
    return -2.0 * total


def _over_steps(step, queries, zero):
    steps = ops.shape(queries)[0]
    return ops.while_loop(lambda t, _: t < steps, step, (0, zero))[1]


def _outer(left, right):
    """Returns the sum over all steps and captions of `left right^T`."""
    left = ops.reshape(left, (-1, left.shape[-1]))
    right = ops.reshape(right, (-1, right.shape[-1]))
    return ops.matmul(ops.transpose(left), right)
