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
from show_attend_tell.training import warm_start
from tests.show_attend_tell.conftest import TINY, call_command
from tests.show_attend_tell.tiny import D, L, assert_equal, make_captioner

# Axis of the words, of the weights that have one.
WORDS = {"embeddings": 0, "output_kernel": 1, "output_bias": 0}


def with_words(words, **options):
    return make_captioner(words, vocabulary_size=words, **options)


def by_name(captioner):
    """Weights by layer, number and name."""
    return {
        (layer.name, number, weight.name): keras.ops.convert_to_numpy(weight)
        for layer in captioner.layers
        for number, weight in enumerate(layer.weights)
    }


# As many words as units, so that sizes alone would not tell the axis.
@pytest.mark.parametrize("old_size, new_size", [(4, 4), (4, 7), (8, 9)])
def test_old_words_keep_their_weights(old_size, new_size):
    old, new = with_words(old_size, annotation_scale=0.3), with_words(new_size)
    before, after = by_name(old), by_name(new)
    warm_start.copy_weights(old, new)
    assert new.annotation_scale == new.config.annotation_scale == 0.3
    merged = 0
    for key, value in by_name(new).items():
        if key[2] in WORDS:
            axis = WORDS[key[2]]
            value, added = np.split(value, [old_size], axis)
            initial = np.split(after[key], [old_size], axis)[1]
            np.testing.assert_array_equal(added, initial)
            merged += 1
        np.testing.assert_array_equal(value, before[key])
    assert merged == 3


def live_encoder():
    inputs = keras.Input((L, D))
    grid = keras.layers.Reshape((L, 1, D))(inputs)
    features = keras.layers.Dense(D)(grid)
    return keras.Model(inputs, features, name="encoder")


def test_a_trained_layer_is_never_lost():
    finetuned = with_words(4, encoder=live_encoder())
    with pytest.raises(UserError, match="'encoder' has no place"):
        warm_start.copy_weights(finetuned, with_words(4))
    with pytest.raises(UserError, match="'decoder' has no place"):
        warm_start.copy_weights(with_words(4, gate="vector"), with_words(4))
    other = with_words(5, encoder=live_encoder())
    warm_start.copy_weights(finetuned, other)
    assert_equal(other.encoder.get_weights(), finetuned.encoder.get_weights())


def config_of(trained, **options):
    return RunConfig.load(trained).replace(**options, warm_start=str(trained))


def test_other_options_are_named(trained, tmp_path):
    config = config_of(trained, units=16, gate="vector", dropout=0.1)
    with pytest.raises(UserError) as error:
        warm_start.check_start(config, tmp_path)
    assert "--units=32 (received 16), --gate=scalar (received" in str(error)
    assert "dropout" not in str(error)
    hard = config_of(trained, objective="hard_attention")
    warm_start.check_start(hard, tmp_path)


def test_a_start_that_is_none(trained, tmp_path):
    with pytest.raises(UserError, match="another --workdir"):
        warm_start.check_start(config_of(trained), trained)
    config = RunConfig().replace(warm_start=str(tmp_path))
    with pytest.raises(UserError, match="config.json"):
        warm_start.check_start(config, "new")
    RunConfig().save(tmp_path)
    with pytest.raises(UserError, match="best.keras"):
        warm_start.check_start(config, "new")


def test_other_annotations_are_named(trained):
    metadata = json.loads((trained / "encoder.json").read_text())
    other = Metadata.from_dict({**metadata, "resize_mode": "crop"})
    message = "expected resize_mode squash, found crop"
    with pytest.raises(UserError, match=message):
        warm_start.check_annotations(config_of(trained), other)


@pytest.mark.proof
def test_a_run_on_other_captions(trained, tmp_path):
    """Images of a folder, with a word that the old run never saw."""
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
    done = call_command("train", *flags)
    assert done.returncode == 0, done.stderr
    history = json.loads((new / "history.json").read_text())
    assert [entry["epoch"] for entry in history] == [0, 1, 2]
    before, words = load_captioner(str(old))
    after, merged = load_captioner(str(new))
    assert [path.name for path in (new / "epochs").iterdir()] == ["02.keras"]
    assert merged.words == (*words.words, "behold")
    assert after.vocabulary_digest == merged.digest
    for one, other in zip(before.weights, after.weights, strict=True):
        ours = other.numpy()[tuple(slice(n) for n in one.shape)]
        np.testing.assert_allclose(ours, one, rtol=1e-6)
    digest = json.loads((new / "versions.json").read_text())["warm_start"]
    expected = hashlib.sha256((old / "best.keras").read_bytes()).hexdigest()
    assert digest == expected
    # It goes on without the run that it came from.
    shutil.rmtree(old)
    again = call_command("train", *flags)
    assert again.returncode == 0, again.stderr
    assert "goes on from step" in again.stdout
