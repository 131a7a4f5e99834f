"""The decoder over captions, in both of its forms, and with any attention."""

import keras
import numpy as np
import pytest
from keras import ops

from show_attend_tell.layers import (
    AttentionSampling,
    LSTMDecoder,
    sample_locations,
)
from tests import reference
from tests.show_attend_tell.layers.checks import (
    BACKEND,
    assert_close,
    check_mask,
    check_oracle,
    fill,
    random_array,
)
from tests.show_attend_tell.layers.dot_product_attention import (
    DotProductAttention,
    ScaledDotProductAttention,
)

N, D, U, A, E = 2, 3, 2, 2, 3


def inputs_of(k, steps, locations, units=U):
    return {
        "embedding": random_array(N, k, steps, E),
        "hidden": random_array(N, k, units),
        "cell": random_array(N, k, units, seed=1),
        "annotations": random_array(N, locations, D),
    }


def built(gate="scalar", units=U, attention_units=A, **kwargs):
    layer = LSTMDecoder(units, attention_units, gate, **kwargs)
    hidden = (None, None, units)
    layer.build((None, None, None, E), hidden, hidden, (None, None, D))
    fill(layer)
    return layer


@pytest.mark.parametrize("fused", [None, False])
@pytest.mark.parametrize(
    ("gate", "k", "steps", "locations"),
    [("scalar", 2, 2, 4), ("vector", 1, 3, 3), ("none", 1, 2, 3)],
)
def test_decoder_is_the_papers(gate, k, steps, locations, fused):
    def oracle(inputs, weights):
        captions = [
            reference.decode(
                inputs["embedding"][index],
                inputs["hidden"][index],
                inputs["cell"][index],
                inputs["annotations"][index[0]],
                reference.below(weights, "cell"),
            )
            for index in np.ndindex(N, k)
        ]
        names = ("hidden", "context", "attention", "gate")
        outputs = [[getattr(one, name) for one in captions] for name in names]
        return [np.reshape(output, (N, k, steps, -1)) for output in outputs]

    layer = built(gate, fused=fused)
    inputs = inputs_of(k, steps, locations)
    check_oracle(layer, inputs, oracle, lambda **x: layer(**x)[:4])
    decoded = layer(**inputs)
    assert_close(decoded.context_weights, decoded.attention)


@pytest.mark.parametrize("attention", [None, DotProductAttention(D)])
def test_masked_locations_do_not_exist(attention):
    check_mask(built(attention=attention, fused=None), inputs_of(2, 2, 4))


def test_it_is_exact_in_mixed_precision():
    inputs = inputs_of(2, 3, 4)
    mixed = built(dtype="mixed_bfloat16")(**inputs)
    assert_close(mixed, built()(**inputs), 0, 0)


def test_fused_where_it_cannot_be_is_an_error():
    layer = built(attention=DotProductAttention(D), fused=True)
    with pytest.raises(ValueError, match="attention=<DotProductAttention"):
        layer(**inputs_of(2, 3, 4))


@pytest.mark.parametrize("sampled", [False, True])
@pytest.mark.parametrize(
    "attention", [None, DotProductAttention, ScaledDotProductAttention]
)
def test_steps_are_those_of_the_sequence(attention, sampled):
    layer = built(attention=attention and attention(D))
    inputs = inputs_of(2, 3, 4)
    noise = np.random.default_rng(0).gumbel(size=(3, N, 2, 4))
    noise, is_sampled = map(
        ops.convert_to_tensor,
        (noise.astype("f"), np.array([[1, 0], [0, 1]], "f")),
    )
    sampling = AttentionSampling(noise, is_sampled) if sampled else None
    embedding, hidden, cell, annotations = inputs.values()
    decoded = layer(**inputs, sampling=sampling)
    keys = layer.project(annotations)
    for t in range(3):

        def sample(alpha, t=t):
            return sample_locations(alpha, noise[t], is_sampled)

        step = layer.step(
            embedding[:, :, t],
            hidden,
            cell,
            annotations,
            keys,
            context_weights=sample if sampled else None,
        )
        hidden, cell = step.hidden, step.cell
        for name, value in decoded._asdict().items():
            assert_close(value[:, :, t], getattr(step, name))


@pytest.mark.parametrize("attention", [DotProductAttention, None])
def test_it_trains_and_is_saved_in_a_model(tmp_path, attention):
    inputs = inputs_of(2, 3, 4)
    tensors = [keras.Input(x.shape[1:], name=k) for k, x in inputs.items()]
    decoder = LSTMDecoder(U, A, attention=attention and attention(D))
    decoded = decoder(*tensors)
    outputs = keras.layers.Dense(1)(
        ops.concatenate([decoded.hidden, decoded.context], axis=-1)
    )
    model = keras.Model(tensors, outputs)
    # Compiling takes seconds, and is tested below.
    model.compile("adam", "mse", run_eagerly=True)
    before = model.get_weights()
    x, y = list(inputs.values()), np.ones((N, 2, 3, 1))
    losses = model.fit(x, y, epochs=3, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    for one, other in zip(before, model.get_weights(), strict=True):
        assert np.any(one != other)
    model.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras")
    assert_close(loaded(x), model(x))


@pytest.mark.skipif(BACKEND != "tensorflow", reason="a graph of TensorFlow's")
@pytest.mark.parametrize("fused", [None, False])
def test_in_a_graph_of_unknown_batch_and_steps(fused):
    import tensorflow as tf

    layer = built(fused=fused)
    layer.jit_compile = False
    shapes = (None, 2, None, E), (None, 2, U), (None, 2, U), (None, 4, D)
    signature = [tf.TensorSpec(shape) for shape in shapes]

    @tf.function(input_signature=signature)
    def run(*inputs):
        with tf.GradientTape() as tape:
            outputs = layer(*inputs)
            total = ops.sum(outputs.hidden) + ops.sum(outputs.attention**2)
        weights = [w.value for w in layer.weights]
        return outputs, tape.gradient(
            total, weights, unconnected_gradients="zero"
        )

    for steps in (3, 1):
        inputs = inputs_of(2, steps, 4)
        outputs, gradients = run(*inputs.values())
        assert_close(outputs, layer(**inputs))
        assert all(np.all(np.isfinite(g)) for g in gradients)
