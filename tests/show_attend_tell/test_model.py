"""The captioner: the paper's complete loop, decoding, files."""

import subprocess
import sys

import keras
import numpy as np
import pytest

from pipelines.encoders.scenes_network import Coordinates
from show_attend_tell.model import Captioner, DecodingState
from tests.conftest import ROOT
from tests.show_attend_tell.layers.checks import assert_close
from tests.show_attend_tell.layers.dot_product_attention import (
    DotProductAttention,
)
from tests.show_attend_tell.tiny import (
    SMALL,
    D,
    L,
    N,
    T,
    V,
    batch_of,
    make_captioner,
    oracle,
)


@pytest.fixture(scope="module")
def captioner():
    """One that no test may change."""
    return make_captioner(annotation_scale=0.2)


@pytest.mark.parametrize(
    "options",
    [
        {"annotation_scale": 0.2, "jit_compile": True},
        {"gate": "vector", "initial_units": 0},
        {"gate": "none", "activation": "linear", "fused_decoder": False},
    ],
)
def test_call_is_the_papers_complete_loop(options):
    captioner, batch = make_captioner(**options), batch_of()
    outputs = captioner(batch)
    logits, attention = oracle(captioner, batch)
    assert_close(outputs["logits"], logits)
    assert_close(outputs["attention"], attention)
    assert_close(outputs["context_weights"], attention)
    assert outputs["attention"].dtype == "float32"


def test_permuting_locations_permutes_attention(captioner):
    batch = batch_of()
    order = np.random.default_rng(1).permutation(L)
    before = captioner(batch)
    after = captioner({**batch, "annotations": batch["annotations"][:, order]})
    assert_close(after["logits"], before["logits"])
    assert_close(
        after["attention"], np.asarray(before["attention"])[..., order]
    )


@pytest.mark.parametrize("plugged_in", [False, True])
def test_steps_are_the_teacher_forced_call(captioner, plugged_in):
    batch = batch_of(k=1)
    if plugged_in:
        captioner = make_captioner(attention=DotProductAttention(D))
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


def test_dropout_is_only_in_training():
    captioner, batch = make_captioner(dropout=0.5), batch_of()
    first, again = (captioner(batch)["logits"] for _ in range(2))
    assert_close(first, again, 0, 0)
    one, other = (captioner(batch, training=True)["logits"] for _ in range(2))
    assert np.any(one != other) and np.any(one != first)


def test_summary_shows_shapes(captioner):
    lines = []
    captioner.summary(print_fn=lambda text, **_: lines.append(text))
    summary = "\n".join(lines)
    assert "?" not in summary
    for shape in (f"(None, None, None, {V})", f"(None, {SMALL.units})"):
        assert shape in summary


@pytest.mark.parametrize("attention", [None, DotProductAttention(D)])
def test_a_file_is_complete(tmp_path, attention):
    captioner = make_captioner(
        gate="vector",
        activation="linear",
        annotation_scale=0.2,
        attention=attention,
    )
    path = tmp_path / "captioner.keras"
    captioner.save(path)
    loaded = keras.saving.load_model(path, safe_mode=True)
    assert type(loaded) is Captioner and loaded.config == captioner.config
    assert loaded.get_config() == captioner.get_config()
    batch = batch_of()
    assert_close(loaded(batch), captioner(batch), 0, 0)


@pytest.mark.parametrize(
    "imports",
    [
        "keras, show_attend_tell",
        "show_attend_tell, keras",
        "show_attend_tell.layers, show_attend_tell.model, keras",
    ],
)
def test_a_file_is_loaded_after_the_import_of_the_package(imports, tmp_path):
    path = tmp_path / "captioner.keras"
    features = keras.Input((L, D))
    grid = keras.layers.Reshape((L, 1, D))(features)
    encoder = keras.Model(features, Coordinates()(grid))
    make_captioner(encoder=encoder).save(path)
    code = (
        f"import {imports}\n"
        f"assert keras.models.load_model({str(path)!r}).vocabulary_size == {V}"
    )
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True)


def test_weights_without_the_model_can_be_saved(tmp_path, captioner):
    path = tmp_path / "captioner.weights.h5"
    captioner.save_weights(path)
    other = make_captioner(seed=5, annotation_scale=0.2)
    other.load_weights(path)
    assert_close(other(batch_of()), captioner(batch_of()), 0, 0)


def test_mixed_precision():
    options = {"annotation_scale": 0.2, "dropout": 0.1}
    mixed = make_captioner(dtype="mixed_bfloat16", **options)
    plain, batch = make_captioner(**options), batch_of(steps=2)
    assert all(weight.dtype == "float32" for weight in mixed.trainable_weights)
    outputs, expected = mixed(batch), plain(batch)
    assert outputs["attention"].dtype == "float32"
    assert_close(outputs["logits"], expected["logits"], 0.05, 0.1)
    assert_close(outputs["attention"], expected["attention"], 0.05, 0.01)
    np.testing.assert_allclose(np.sum(outputs["attention"], -1), 1, rtol=1e-6)
    # Loaded where the program's policy is another, it stays what it was.
    again = Captioner.from_config(mixed.get_config())
    assert [one.dtype_policy.name for one in again._flatten_layers()] == [
        one.dtype_policy.name for one in mixed._flatten_layers()
    ]


@pytest.mark.parametrize(
    "options",
    [
        {"vocabulary_size": 0},
        {"gate": "open"},
        {"activation": "relu"},
        {"dropout": 2.0},
    ],
)
def test_wrong_arguments(options):
    with pytest.raises(ValueError, match="Received: "):
        make_captioner(**options)
