"""Starting from a trained model: words merged, weights where they belong."""

import hashlib
import json
import shutil

import keras
import numpy as np
import pytest

from pipelines.cache.metadata import Metadata
from pipelines.errors import UserError
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.inference.model_files import load_captioner
from show_attend_tell.model import Captioner
from show_attend_tell.training import warm_start
from tests.show_attend_tell.conftest import TINY, run_command

SMALL = {
    "embedding_size": 3,
    "units": 4,
    "attention_units": 3,
    "initial_units": 5,
}
# Axis of the words, of the weights that have one.
WORDS = {"embeddings": 0, "output_kernel": 1, "output_bias": 0}


def made(words, **arguments):
    captioner = Captioner(vocabulary_size=words, **SMALL, **arguments)
    captioner.build({"annotations": (None, 5, 6), "tokens": (None, None, None)})
    rng = np.random.default_rng(words)
    for weight in captioner.weights:
        weight.assign(rng.normal(size=weight.shape))
    return captioner


def by_name(captioner):
    """Weights by layer, number and name."""
    return {
        (layer.name, number, weight.name): keras.ops.convert_to_numpy(weight)
        for layer in captioner.layers
        for number, weight in enumerate(layer.weights)
    }


# As many words as units, so that sizes alone would not tell the axis.
@pytest.mark.parametrize("known, now", [(4, 4), (4, 7), (8, 9)])
@pytest.mark.parametrize("before, after", [("soft", "soft"), ("soft", "hard")])
def test_old_words_keep_their_weights(known, now, before, after):
    old, new = made(known, attention=before), made(now, attention=after)
    olds, news = by_name(old), by_name(new)
    warm_start.copy_weights(old, new)
    found = by_name(new)
    assert set(found) == set(news) >= set(olds)
    merged = 0
    for key, value in found.items():
        if key not in olds:
            assert key[0] == "hard_attention"
            np.testing.assert_array_equal(value, news[key])
        elif key[2] in WORDS:
            axis = WORDS[key[2]]
            ours, others = np.split(value, [known], axis)
            np.testing.assert_array_equal(ours, olds[key])
            fresh = np.split(news[key], [known], axis)[1]
            np.testing.assert_array_equal(others, fresh)
            merged += 1
        else:
            np.testing.assert_array_equal(value, olds[key])
    assert merged == 3


def test_the_scale_comes_with_the_weights():
    old, new = made(4, annotation_scale=0.3), made(5)
    warm_start.copy_weights(old, new)
    assert new.annotation_scale == 0.3
    assert new.get_config()["annotation_scale"] == 0.3


def test_soft_may_follow_hard():
    old, new = made(4, attention="hard"), made(5)
    warm_start.copy_weights(old, new)
    np.testing.assert_array_equal(
        new.embedding.embeddings[:4], old.embedding.embeddings
    )


def live_encoder():
    inputs = keras.Input((5, 6))
    grid = keras.layers.Reshape((5, 1, 6))(inputs)
    features = keras.layers.Dense(6)(grid)
    return keras.Model(inputs, features, name="encoder")


def test_a_trained_layer_is_never_lost():
    seeing = made(4, encoder=live_encoder())
    with pytest.raises(UserError, match="'encoder' has no place"):
        warm_start.copy_weights(seeing, made(4))
    with pytest.raises(UserError, match="'decoder' has no place"):
        warm_start.copy_weights(made(4, gate="vector"), made(4))
    other = made(5, encoder=live_encoder())
    warm_start.copy_weights(seeing, other)
    for ours, one in zip(
        other.encoder.get_weights(), seeing.encoder.get_weights(), strict=True
    ):
        np.testing.assert_array_equal(ours, one)


def settings(trained, **changes):
    config = RunConfig.load(trained)
    return config.replace(**changes, warm_start=str(trained))


def test_other_settings_are_named(trained, tmp_path):
    config = settings(trained, units=16, gate="vector", dropout=0.1)
    with pytest.raises(UserError) as told:
        warm_start.check_settings(config, tmp_path)
    assert "--units=32 (received 16), --gate=scalar (received" in str(told)
    assert "dropout" not in str(told)
    hard = settings(trained, objective="hard_attention")
    warm_start.check_settings(hard, tmp_path)


def test_a_start_that_is_none(trained, tmp_path):
    with pytest.raises(UserError, match="another --workdir"):
        warm_start.check_settings(settings(trained), trained)
    with pytest.raises(UserError, match="config.json"):
        warm_start.check_settings(
            RunConfig().replace(warm_start=str(tmp_path)), "new"
        )
    RunConfig().save(tmp_path)
    with pytest.raises(UserError, match="best.keras"):
        warm_start.check_settings(
            RunConfig().replace(warm_start=str(tmp_path)), "new"
        )


def test_other_annotations_are_named(trained, tmp_path):
    values = json.loads((trained / "encoder.json").read_text())
    other = Metadata.from_dict({**values, "resize_mode": "crop"})
    with pytest.raises(
        UserError, match="expected resize_mode squash, found crop"
    ):
        warm_start.check_annotations(settings(trained), other)


@pytest.mark.proof
def test_a_run_on_other_captions(trained, tmp_path):
    """One's own images, with a word that the old run never saw."""
    from pipelines.sources.scenes import load_scenes

    images = load_scenes(8, 4, 0, 0).images
    lines = ["file,caption,split"]
    for number, image in enumerate(images):
        name = f"{number}.png"
        (tmp_path / name).write_bytes(image.read())
        split = "train" if number < 8 else "validation"
        lines += [
            f"{name},behold {text.replace(',', ' ')},{split}"
            for text in image.captions
        ]
    (tmp_path / "captions.csv").write_text("\n".join(lines) + "\n")
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(trained, old)
    flags = [
        "--recipe=scenes",
        "--dataset=folder",
        f"--data_dir={tmp_path}",
        f"--workdir={new}",
        f"--warm_start={old}",
        "--learning_rate=0",
        "--keep_epochs=1",
        "--ema=0.9",
        "--label_smoothing=0.1",
        "--scheduled_sampling=0.5",
        *(flag for flag in TINY if "images" not in flag),
    ]
    done = run_command("train", *flags)
    assert done.returncode == 0, done.stderr
    history = json.loads((new / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == [0, 1, 2]
    before, words = load_captioner(str(old))
    after, merged = load_captioner(str(new))
    kept = [path.name for path in (new / "epochs").iterdir()]
    assert kept == ["02.keras"]
    assert merged.words == (*words.words, "behold")
    assert after.vocabulary_digest == merged.digest
    for one, other in zip(
        before.trainable_weights, after.trainable_weights, strict=True
    ):
        ours = other.numpy()[tuple(slice(n) for n in one.shape)]
        np.testing.assert_array_equal(ours, one)
    digest = json.loads((new / "versions.json").read_text())["warm_start"]
    expected = hashlib.sha256((old / "best.keras").read_bytes()).hexdigest()
    assert digest == expected
    # It goes on without the run that it came from.
    shutil.rmtree(old)
    again = run_command("train", *flags)
    assert again.returncode == 0, again.stderr
    assert "goes on from step" in again.stdout
