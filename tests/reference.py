"""Show, Attend and Tell in NumPy: an oracle for the tests.

Written from the paper (Xu et al. 2015, arXiv 1502.03044), one word of one
caption of one image at a time, in float64, with plain loops: slow and easy to
compare with the printed equations. It imports nothing of what it checks.

Shapes: L locations, D annotation size, A attention units, U LSTM units, E
embedding size, V vocabulary, T words. Weights come as a dictionary; `below`
takes those of a part. The four blocks of an LSTM kernel are, in this order,
input gate, forget gate, new memory, output gate.
"""

import typing

import numpy as np


def sigmoid(x):
    return 1.0 / (1.0 + np.exp(-x))


def softmax(x):
    exponentials = np.exp(x - np.max(x))
    return exponentials / np.sum(exponentials)


def log_softmax(x):
    shifted = x - np.max(x)
    return shifted - np.log(np.sum(np.exp(shifted)))


def below(weights, part):
    """Returns the weights of a part, by their names inside it."""
    prefix = f"{part}/"
    return {
        name.removeprefix(prefix): weight
        for name, weight in weights.items()
        if name.startswith(prefix)
    }


def attend(hidden, annotations, w):
    """Equations 4 to 6, with phi of equation 13: the context and alpha.

    hidden (U,) is that of the previous step; annotations (L, D).
    """
    energies = []
    for annotation in annotations:
        compared = np.tanh(
            annotation @ w["annotation_kernel"]
            + hidden @ w["hidden_kernel"]
            + w["bias"]
        )
        energies.append(compared @ w["energy_kernel"][:, 0])  # eq. 4
    attention = softmax(np.array(energies))  # eq. 5
    context = np.zeros(annotations.shape[1])
    for alpha, annotation in zip(attention, annotations, strict=True):
        context = context + alpha * annotation  # eqs. 6, 13
    return context, attention


def gate(hidden, w):
    """Section 4.2.1: beta, a scalar (1,) or, in other codes, a vector (D,)."""
    if "gate_kernel" not in w:
        return np.ones(1)
    return sigmoid(hidden @ w["gate_kernel"] + w["gate_bias"])


def lstm(embedding, context, hidden, cell, w):
    """Equations 1 to 3: the next hidden state and cell."""
    input_gate, forget_gate, memory, output_gate = np.split(
        embedding @ w["embedding_kernel"]
        + context @ w["context_kernel"]
        + hidden @ w["hidden_kernel"]
        + w["bias"],
        4,
    )  # eq. 1
    cell = sigmoid(forget_gate) * cell + sigmoid(input_gate) * np.tanh(memory)
    return sigmoid(output_gate) * np.tanh(cell), cell  # eqs. 2, 3


class Step(typing.NamedTuple):
    hidden: np.ndarray
    cell: np.ndarray
    context: np.ndarray
    attention: np.ndarray
    gate: np.ndarray


def decoder_step(embedding, hidden, cell, annotations, w, locate=None):
    """One step of the decoder: attention, gate, LSTM.

    `locate` takes alpha and returns the location that makes the context, for
    hard attention (section 4.1).
    """
    context, attention = attend(hidden, annotations, below(w, "attention"))
    if locate is not None:
        context = annotations[locate(attention)]
    beta = gate(hidden, w)
    context = beta * context
    hidden, cell = lstm(embedding, context, hidden, cell, w)
    return Step(hidden, cell, context, attention, beta)


def decode(embeddings, hidden, cell, annotations, w, locate=None):
    """All steps of a caption, embeddings (T, E): a `Step` of (T, ...).

    `locate` takes alpha and the step.
    """
    steps = []
    for t, embedding in enumerate(embeddings):
        here = locate and (lambda attention, t=t: locate(attention, t))
        step = decoder_step(embedding, hidden, cell, annotations, w, here)
        hidden, cell = step.hidden, step.cell
        steps.append(step)
    return Step(*(np.stack(parts) for parts in zip(*steps, strict=True)))


def dense(x, w):
    return x @ w["kernel"] + w["bias"]


def initial_state(annotations, w):
    """Section 3.1.2: h_0 and c_0 from the mean annotation."""
    summary = np.mean(annotations, axis=0)
    if "between/kernel" in w:
        summary = np.maximum(dense(summary, below(w, "between")), 0.0)
    return (
        np.tanh(dense(summary, below(w, "to_hidden"))),
        np.tanh(dense(summary, below(w, "to_cell"))),
    )


def deep_output(embedding, hidden, context, w, activation="tanh"):
    """Equation 7: the logits (V,)."""
    p = (
        embedding
        + hidden @ w["hidden_kernel"]
        + context @ w["context_kernel"]
        + w["bias"]
    )
    if activation == "tanh":
        p = np.tanh(p)
    return p @ w["output_kernel"] + w["output_bias"]


def caption_nll(logits, targets, mask):
    """- sum_t log p(y_t) over the real words of one caption."""
    return -sum(
        log_softmax(scores)[target]
        for scores, target, real in zip(logits, targets, mask, strict=True)
        if real
    )


def doubly_stochastic(attention, mask, weight=1.0, normalization="sum"):
    """The second term of equation 14 for one caption, attention (T, L)."""
    penalty = 0.0
    locations = attention.shape[1]
    for i in range(locations):
        seen = sum(
            alpha[i]
            for alpha, real in zip(attention, mask, strict=True)
            if real
        )
        penalty += (1.0 - seen) ** 2
    if normalization == "mean":
        penalty /= locations
    return weight * penalty


def caption_steps(
    tokens, annotations, w, activation="tanh", scale=1.0, locate=None
):
    """Teacher forcing on one caption, tokens (T + 1,) from the start token.

    Returns the logits (T, V) of the words after the first, and a `Step` of
    (T, ...).
    """
    annotations = scale * annotations
    hidden, cell = initial_state(annotations, below(w, "initial_state"))
    embeddings = w["embedding/embeddings"][tokens[:-1]]
    steps = decode(
        embeddings, hidden, cell, annotations, below(w, "decoder/cell"), locate
    )
    logits = [
        deep_output(embedding, hidden, context, below(w, "output"), activation)
        for embedding, hidden, context in zip(
            embeddings, steps.hidden, steps.context, strict=True
        )
    ]
    return np.stack(logits), steps


def caption_loop(*arguments):
    """The same, but of the steps alpha (T, L) only."""
    logits, steps = caption_steps(*arguments)
    return logits, steps.attention


def numeric_gradient(function, arrays, epsilon=1e-5):
    """Central differences of a scalar function of a dictionary of arrays."""
    arrays = {k: np.array(v, np.float64) for k, v in arrays.items()}
    gradients = {}
    for name, array in arrays.items():
        gradients[name] = np.zeros_like(array)
        for index in np.ndindex(array.shape):
            value = array[index]
            array[index] = value + epsilon
            above = function(arrays)
            array[index] = value - epsilon
            gradients[name][index] = (above - function(arrays)) / (2 * epsilon)
            array[index] = value
    return gradients
