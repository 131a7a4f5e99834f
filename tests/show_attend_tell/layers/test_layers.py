"""What all layers have in common: files, graphs, shapes, mixed precision."""

import functools

import numpy as np
import pytest

from show_attend_tell.layers import (
    BahdanauAttention,
    DeepOutput,
    DoublyStochasticRegularizer,
    InitialState,
    LSTMDecoder,
    LSTMDecoderCell,
)
from tests.show_attend_tell.layers.checks import check_layer, random_array
from tests.show_attend_tell.layers.dot_product_attention import (
    DotProductAttention,
)

N, K, T, L, D, U, A, E, V = 2, 3, 2, 4, 3, 2, 2, 3, 7
ANNOTATIONS = random_array(N, L, D)
ATTENTION_WEIGHTS = {
    "annotation_kernel": (D, A),
    "hidden_kernel": (U, A),
    "bias": (A,),
    "energy_kernel": (A, 1),
}
STATE_WEIGHTS = {
    f"{layer}/{name}": shape
    for layer in ("to_hidden", "to_cell")
    for name, shape in (("kernel", (5, U)), ("bias", (U,)))
}
OUTPUT_WEIGHTS = {
    "hidden_kernel": (U, E),
    "context_kernel": (D, E),
    "bias": (E,),
    "output_kernel": (E, V),
    "output_bias": (V,),
}


def cell_weights(gate, prefix="", attention=ATTENTION_WEIGHTS):
    weights = {
        "embedding_kernel": (E, 4 * U),
        "context_kernel": (D, 4 * U),
        "hidden_kernel": (U, 4 * U),
        "bias": (4 * U,),
        **{f"attention/{k}": v for k, v in attention.items()},
    }
    if gate != "none":
        size = {"scalar": 1, "vector": D}[gate]
        weights |= {"gate_kernel": (U, size), "gate_bias": (size,)}
    return {prefix + k: v for k, v in weights.items()}


def state(*batch):
    return random_array(*batch, U), random_array(*batch, U, seed=1)


def step_inputs(*batch):
    return [random_array(*batch, E), *state(*batch), ANNOTATIONS]


SEQUENCE = [random_array(N, K, T, E), *state(N, K), ANNOTATIONS]
DOT_PRODUCT = {"query/kernel": (U, D), "query/bias": (D,)}
CASES = {
    "attention": (
        functools.partial(BahdanauAttention, A),
        [random_array(N, U), ANNOTATIONS],
        ATTENTION_WEIGHTS,
    ),
    "attention of captions": (
        functools.partial(BahdanauAttention, A),
        [random_array(N, K, U), ANNOTATIONS],
        ATTENTION_WEIGHTS,
    ),
    "cell, scalar gate": (
        functools.partial(LSTMDecoderCell, U, A),
        step_inputs(N),
        cell_weights("scalar"),
    ),
    "cell, vector gate": (
        functools.partial(LSTMDecoderCell, U, A, "vector"),
        step_inputs(N, K),
        cell_weights("vector"),
    ),
    "decoder, fused": (
        functools.partial(LSTMDecoder, U, A, "none"),
        SEQUENCE,
        cell_weights("none", "cell/"),
    ),
    "decoder, scan": (
        functools.partial(LSTMDecoder, U, A, "vector", 2.0, fused=False),
        SEQUENCE,
        cell_weights("vector", "cell/"),
    ),
    "initial state, one layer": (
        functools.partial(InitialState, U),
        [random_array(N, L, 5)],
        STATE_WEIGHTS,
    ),
    "initial state, two layers": (
        functools.partial(InitialState, U, 5),
        [ANNOTATIONS],
        {"between/kernel": (D, 5), "between/bias": (5,), **STATE_WEIGHTS},
    ),
    "output": (
        functools.partial(DeepOutput, V),
        [random_array(N, K, T, size) for size in (E, U, D)],
        OUTPUT_WEIGHTS,
    ),
    "output, linear": (
        functools.partial(DeepOutput, V, "linear"),
        [random_array(N, size) for size in (E, U, D)],
        OUTPUT_WEIGHTS,
    ),
    "regularizer": (
        functools.partial(DoublyStochasticRegularizer, 0.7, "mean"),
        [np.abs(random_array(N, K, T, L)), np.ones((N, K, T), bool)],
        {},
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_layer(case):
    check_layer(*CASES[case])


def test_decoder_with_plugged_in_attention():
    def make(**kwargs):  # A new attention for each decoder.
        attention = DotProductAttention(D, name="attention", dtype="float32")
        return LSTMDecoder(U, attention=attention, **kwargs)

    check_layer(make, SEQUENCE, cell_weights("scalar", "cell/", DOT_PRODUCT))


@pytest.mark.parametrize(
    ("layer", "arguments"),
    [
        (BahdanauAttention, {"units": 0}),
        (BahdanauAttention, {"units": 1, "temperature": 0.0}),
        (LSTMDecoderCell, {"units": 0, "attention_units": 1}),
        (LSTMDecoderCell, {"units": 1, "attention_units": 0}),
        (LSTMDecoderCell, {"units": 1}),
        (LSTMDecoder, {"units": 1, "attention_units": 1, "gate": "open"}),
        (InitialState, {"units": 0}),
        (InitialState, {"units": 2, "hidden_units": -1}),
        (InitialState, {"units": 2, "dropout": 1.5}),
        (DeepOutput, {"vocabulary_size": 0}),
        (DeepOutput, {"vocabulary_size": 9, "activation": "relu"}),
        (DeepOutput, {"vocabulary_size": 9, "dropout": -0.1}),
        (DoublyStochasticRegularizer, {"normalization": "max"}),
        (DoublyStochasticRegularizer, {"weight": -1.0}),
    ],
    ids=str,
)
def test_wrong_arguments(layer, arguments):
    with pytest.raises(ValueError, match="Received: "):
        layer(**arguments)
