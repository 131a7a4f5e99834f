"""The oracle itself, on examples that can be worked by hand."""

import numpy as np

from tests import reference


def test_numeric_gradient():
    def function(arrays):
        return np.sum(arrays["x"] ** 3) * arrays["y"][0]

    gradients = reference.numeric_gradient(
        function, {"x": np.array([[1.0, -2.0]]), "y": np.array([5.0])}
    )
    np.testing.assert_allclose(gradients["x"], [[15.0, 60.0]], rtol=1e-8)
    np.testing.assert_allclose(gradients["y"], [-7.0], rtol=1e-8)


def test_attention_by_hand():
    # One unit that compares the sum with zero: tanh(a + h).
    w = {
        "annotation_kernel": np.array([[1.0], [0.0]]),
        "hidden_kernel": np.array([[1.0]]),
        "bias": np.zeros(1),
        "energy_kernel": np.array([[np.log(3.0)]]),
    }
    annotations = np.array([[50.0, 4.0], [-1.0, 8.0]])
    # Energies log 3 and 0, so attention 3/4 and 1/4.
    context, attention = reference.attend(np.ones(1), annotations, w)
    np.testing.assert_allclose(attention, [0.75, 0.25])
    np.testing.assert_allclose(context, [37.25, 5.0])


def test_lstm_by_hand():
    # Only biases: input gate 1/2, forget gate 3/4, output gate 1.
    w = {
        "embedding_kernel": np.zeros((1, 4)),
        "context_kernel": np.zeros((1, 4)),
        "hidden_kernel": np.zeros((1, 4)),
        "bias": np.array([0.0, np.log(3.0), np.arctanh(0.5), 99.0]),
    }
    zero = np.zeros(1)
    hidden, cell = reference.lstm(zero, zero, zero, np.array([2.0]), w)
    np.testing.assert_allclose(cell, [0.75 * 2 + 0.5 * 0.5])
    np.testing.assert_allclose(hidden, np.tanh([1.75]))


def test_loss_by_hand():
    logits = np.log([[0.5, 0.5, 1e-9], [0.25, 0.7, 0.05], [0.1, 0.1, 0.8]])
    nll = reference.caption_nll(logits, [1, 0, 2], [True, True, False])
    np.testing.assert_allclose(nll, np.log(8.0), rtol=1e-6)
    attention = np.array([[0.5, 0.5], [0.25, 0.75], [1.0, 0.0]])
    # Seen 3/4 and 5/4; the third word is padding.
    mask = [True, True, False]
    penalty = reference.doubly_stochastic(attention, mask, weight=2.0)
    np.testing.assert_allclose(penalty, 2 * (1 / 16 + 1 / 16))
    penalty = reference.doubly_stochastic(attention, mask, 2.0, "mean")
    np.testing.assert_allclose(penalty, 1 / 8)
