"""The captioner: the paper's whole loop, its loss, training and files."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.model import Captioner, DecodingState
from tests import reference
from tests.show_attend_tell.layers.checks import (
    assert_close,
    fill,
    named_weights,
    random_array,
)

N, K, T, L, D, V = 2, 2, 4, 5, 6, 11
SHAPES = {"annotations": (None, L, D), "tokens": (None, None, None)}
SMALL = {
    "vocabulary_size": V,
    "embedding_size": 3,
    "units": 4,
    "attention_units": 3,
    "initial_units": 5,
    "dropout": 0.0,
}


def made(seed=0, scale=0.5, compiled=False, **arguments):
    captioner = Captioner(**{**SMALL, **arguments}, name="captioner")
    if not compiled:  # Every new shape would take seconds.
        captioner.decoder.jit_compile = False
    captioner.build(SHAPES)
    fill(captioner, seed, scale)
    return captioner


def batch_of(n=N, k=K, steps=T, seed=0):
    """Captions of 0 to `steps` steps, each ended, then padding."""
    rng = np.random.default_rng(seed)
    tokens = np.full((n, k, steps + 1), PADDING, np.int32)
    for number, index in enumerate(np.ndindex(n, k)):
        length = steps - number % (steps + 1)
        if length:
            words = rng.integers(4, V, length - 1)
            tokens[index][: length + 1] = [START, *words, END]
    annotations = np.maximum(random_array(n, L, D, seed=seed, scale=3.0), 0)
    return {"annotations": annotations, "tokens": tokens}


def oracle(captioner, batch):
    """Logits and attention, `(N, K, T, ...)`, caption by caption."""
    weights = {
        name: np.asarray(weight, np.float64)
        for name, weight in named_weights(captioner).items()
    }
    n, k = batch["tokens"].shape[:2]
    found = [
        reference.caption_loop(
            batch["tokens"][i, j],
            batch["annotations"][i].astype(np.float64),
            weights,
            captioner.arguments["activation"],
            captioner.arguments["annotation_scale"],
        )
        for i, j in np.ndindex(n, k)
    ]
    logits, attention = zip(*found, strict=True)
    return (
        np.reshape(logits, (n, k, *logits[0].shape)),
        np.reshape(attention, (n, k, *attention[0].shape)),
    )


@pytest.fixture(scope="module")
def captioner():
    """One that no test may change."""
    return made(annotation_scale=0.2)


@pytest.mark.parametrize(
    "arguments",
    [
        {"annotation_scale": 0.2, "compiled": True},
        {"gate": "vector", "initial_units": 0},
        {"gate": "none", "activation": "linear"},
    ],
)
def test_call_is_the_papers_whole_loop(arguments):
    captioner, batch = made(**arguments), batch_of()
    outputs = captioner(batch)
    logits, attention = oracle(captioner, batch)
    assert_close(outputs["logits"], logits)
    assert_close(outputs["attention"], attention)
    assert outputs["attention"].dtype == "float32"


def test_fitted_scale_gives_annotations_a_deviation_of_one():
    captioner = made()
    samples = [batch_of(seed=seed)["annotations"] for seed in (1, 2)]
    captioner.fit_annotation_scale(samples)
    scale = captioner.arguments["annotation_scale"]
    assert scale == captioner.annotation_scale != 0.5
    assert np.std(scale * np.concatenate(samples)) == pytest.approx(1, rel=0.01)
    again = Captioner.from_config(captioner.get_config())
    assert again.annotation_scale == scale


@pytest.mark.parametrize("normalization", ["sum", "mean"])
def test_losses_are_equation_14(normalization):
    captioner = made(
        regularizer_weight=0.7, regularizer_normalization=normalization
    )
    batch = batch_of(n=3)
    logits, attention = oracle(captioner, batch)
    targets = batch["tokens"][..., 1:]
    mask = targets != PADDING
    nll, penalty = (
        [
            function(index)
            for index in np.ndindex(*targets.shape[:2])
            if mask[index].any()
        ]
        for function in (
            lambda i: reference.caption_nll(logits[i], targets[i], mask[i]),
            lambda i: reference.doubly_stochastic(
                attention[i], mask[i], 0.7, normalization
            ),
        )
    )
    assert len(nll) == 5  # One of the six captions is padding alone.
    loss, total, words = captioner.losses_of(batch)
    np.testing.assert_allclose(loss, np.mean(nll) + np.mean(penalty), 1e-5)
    np.testing.assert_allclose(total, np.sum(nll), 1e-5)
    assert float(words) == mask.sum()


def test_smoothing_is_in_the_loss_alone():
    batch = batch_of(n=3)
    plain = made(regularizer_weight=0.7)
    smooth = made(regularizer_weight=0.7, label_smoothing=0.2)
    logits, _ = oracle(plain, batch)
    targets = batch["tokens"][..., 1:]
    excess = [
        sum(
            z[y] - z[2:].mean()
            for z, y in zip(logits[i], targets[i], strict=True)
            if y != PADDING
        )
        for i in np.ndindex(3, K)
    ]
    loss, nll, words = plain.losses_of(batch)
    found = smooth.losses_of(batch)
    # Five captions count, one is padding.
    np.testing.assert_allclose(found[0] - loss, 0.2 * sum(excess) / 5, 1e-4)
    assert_close(found[1:], [nll, words], 0, 0)


def test_padding_counts_nothing(captioner):
    batch = batch_of()
    expected = captioner.losses_of(batch)
    tokens = batch["tokens"]
    longer = np.pad(tokens, ((0, 0), (0, 0), (0, 5)))
    assert_close(
        captioner.losses_of({**batch, "tokens": longer}), expected, 1e-6
    )
    more = np.pad(tokens, ((0, 0), (0, 3), (0, 0)))
    assert_close(captioner.losses_of({**batch, "tokens": more}), expected, 1e-6)
    images = {
        "annotations": np.concatenate(
            [batch["annotations"], 9 * batch["annotations"]]
        ),
        "tokens": np.pad(tokens, ((0, N), (0, 0), (0, 0))),
    }
    assert_close(captioner.losses_of(images), expected, 1e-6)
    nothing = {**batch, "tokens": np.zeros_like(tokens)}
    assert_close(captioner.losses_of(nothing), [0.0, 0.0, 0.0])


def test_padding_sends_no_gradient(captioner):
    batch = batch_of()
    weights = [w.value for w in captioner.trainable_variables]
    gradients = []
    for extra in (0, 4):
        tokens = np.pad(batch["tokens"], ((0, 0), (0, 1), (0, extra)))
        with tf.GradientTape() as tape:
            loss = captioner.losses_of({**batch, "tokens": tokens})[0]
        gradients.append(
            [tf.convert_to_tensor(g) for g in tape.gradient(loss, weights)]
        )
    for one, other in zip(*gradients, strict=True):
        assert np.any(one)  # Every weight learns something.
        np.testing.assert_allclose(one, other, rtol=1e-4, atol=1e-6)


def test_permuting_locations_permutes_attention(captioner):
    batch = batch_of()
    order = np.random.default_rng(1).permutation(L)
    before = captioner(batch)
    after = captioner({**batch, "annotations": batch["annotations"][:, order]})
    assert_close(after["logits"], before["logits"])
    assert_close(
        after["attention"], np.asarray(before["attention"])[..., order]
    )


def test_steps_are_the_teacher_forced_call(captioner):
    batch = batch_of(k=1)
    expected = captioner(batch)
    state, annotations, keys = captioner.begin(batch["annotations"])
    assert isinstance(state, DecodingState)
    for t in range(T):
        logits, state, attention, gate = captioner.step(
            batch["tokens"][:, 0, t], state, annotations, keys
        )
        assert_close(logits, expected["logits"][:, 0, t])
        assert_close(attention, expected["attention"][:, 0, t])
        assert gate.shape == (N, 1)


def test_training_lowers_the_loss_and_testing_changes_nothing():
    captioner, batch = made(scale=0.2), batch_of(steps=3)
    captioner.compile(keras.optimizers.Adam(0.05), jit_compile=False)
    before = captioner.get_weights()
    tested = captioner.test_on_batch(batch, return_dict=True)
    for one, other in zip(before, captioner.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    loss, nll, words = captioner.losses_of(batch)
    np.testing.assert_allclose(tested["loss"], loss, rtol=1e-5)
    np.testing.assert_allclose(tested["nll_per_word"], nll / words, rtol=1e-5)
    history = [
        captioner.train_on_batch(batch, return_dict=True)["loss"]
        for _ in range(25)
    ]
    # The first is the loss before the first step; those after are means.
    np.testing.assert_allclose(history[0], loss, rtol=1e-5)
    assert captioner.losses_of(batch)[0] < 0.7 * loss
    for one, other in zip(before, captioner.get_weights(), strict=True):
        assert np.any(one != other)


def test_metrics_are_means_over_captions_seen():
    captioner = made()
    captioner.compile(keras.optimizers.SGD(0.0), jit_compile=False)
    batches = [batch_of(), batch_of(seed=1, steps=6)]
    losses = [[float(x) for x in captioner.losses_of(b)] for b in batches]
    for batch in batches:
        result = captioner.test_step(batch)
    loss, nll, words = np.array(losses).T
    np.testing.assert_allclose(result["loss"], np.mean(loss), rtol=1e-5)
    # Every word counts the same, however long the batch.
    np.testing.assert_allclose(
        result["nll_per_word"], nll.sum() / words.sum(), rtol=1e-5
    )


def test_dropout_is_in_training_alone():
    captioner, batch = made(dropout=0.5), batch_of()
    calm = captioner.losses_of(batch)
    assert_close(captioner.losses_of(batch, training=False), calm, rtol=0)
    first, second = (
        float(captioner.losses_of(batch, training=True)[0]) for _ in range(2)
    )
    assert len({float(calm[0]), first, second}) == 3


# As Keras compiles by default, one shape; and batches of several lengths and
# counts of images, as training has them.
@pytest.mark.parametrize(
    ("jit_compile", "shapes"),
    [
        ("auto", [(2, 2)] * 2),
        pytest.param(False, [(2, 2), (2, 4), (1, 2)], marks=pytest.mark.proof),
    ],
)
def test_fit_and_evaluate(jit_compile, shapes):
    batches = [
        batch_of(n=n, steps=steps, seed=seed)
        for seed, (n, steps) in enumerate(shapes)
    ]
    spec = {
        "annotations": tf.TensorSpec((None, L, D), tf.float32),
        "tokens": tf.TensorSpec((None, K, None), tf.int32),
    }
    dataset = tf.data.Dataset.from_generator(
        lambda: iter(batches), output_signature=spec
    )
    dataset = dataset.apply(
        tf.data.experimental.assert_cardinality(len(shapes))
    )
    captioner = Captioner(**{**SMALL, "dropout": 0.1})
    if not jit_compile:
        captioner.decoder.jit_compile = False
    captioner.compile(keras.optimizers.Adam(0.02), jit_compile=jit_compile)
    history = captioner.fit(dataset, epochs=6, shuffle=False, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    weights = captioner.get_weights()
    result = captioner.evaluate(dataset, verbose=0, return_dict=True)
    assert set(result) == {"loss", "nll_per_word"}
    for one, other in zip(weights, captioner.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_file_is_complete(tmp_path):
    captioner = made(gate="vector", activation="linear", annotation_scale=0.2)
    captioner.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    batches = [batch_of(n=1, steps=2, seed=seed) for seed in range(3)]
    for batch in batches[:2]:
        captioner.train_on_batch(batch)
    path = tmp_path / "captioner.keras"
    captioner.save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    loaded.decoder.jit_compile = False
    assert type(loaded) is Captioner
    assert loaded.get_config() == captioner.get_config()
    assert_close(loaded(batches[0]), captioner(batches[0]), 0, 0)
    assert int(loaded.optimizer.iterations) == 2
    # Going on is going on: the optimizer's state came along.
    for batch in batches[2:]:
        captioner.train_on_batch(batch)
        loaded.train_on_batch(batch)
    for one, other in zip(
        captioner.get_weights(), loaded.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(one, other)
    for one, other in zip(
        captioner.optimizer.variables, loaded.optimizer.variables, strict=True
    ):
        np.testing.assert_array_equal(one, other)


def test_weights_alone_can_be_saved(tmp_path, captioner):
    path = tmp_path / "captioner.weights.h5"
    captioner.save_weights(path)
    other = made(seed=5, annotation_scale=0.2)
    other.load_weights(path)
    assert_close(other(batch_of()), captioner(batch_of()), 0, 0)


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        mixed = made(annotation_scale=0.2, dropout=0.1)
    finally:
        keras.config.set_dtype_policy("float32")
    plain = made(annotation_scale=0.2, dropout=0.1)
    batch = batch_of(steps=2)
    assert all(weight.dtype == "float32" for weight in mixed.trainable_weights)
    found, expected = mixed(batch), plain(batch)
    assert found["attention"].dtype == "float32"
    assert_close(found["logits"], expected["logits"], 0.05, 0.1)
    assert_close(found["attention"], expected["attention"], 0.05, 0.01)
    np.testing.assert_allclose(np.sum(found["attention"], -1), 1.0, rtol=1e-6)
    mixed.compile(keras.optimizers.Adam(0.01), run_eagerly=True)
    assert np.isfinite(mixed.train_on_batch(batch, return_dict=True)["loss"])
    # Loaded where the program's policy is another, it stays what it was.
    again = Captioner.from_config(mixed.get_config())
    assert [one.dtype_policy.name for one in again._flatten_layers()] == [
        one.dtype_policy.name for one in mixed._flatten_layers()
    ]


@pytest.mark.parametrize(
    "arguments",
    [
        {"vocabulary_size": 0},
        {"gate": "open"},
        {"activation": "relu"},
        {"dropout": 2.0},
        {"regularizer_normalization": "max"},
    ],
)
def test_wrong_arguments(arguments):
    with pytest.raises(ValueError, match="Received: "):
        Captioner(**{**SMALL, **arguments})
