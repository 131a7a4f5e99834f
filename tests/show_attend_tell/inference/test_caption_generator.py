"""Captioning photos with a trained run, and loading its models."""

import io
import json
import math
import pathlib
import shutil

import numpy as np
import pytest
from PIL import Image

import show_attend_tell
from pipelines.checksums import list_files
from pipelines.errors import UserError
from pipelines.sources.scenes import load_scenes
from show_attend_tell.configs.model import ModelConfig
from show_attend_tell.inference.model_files import load_ensemble
from show_attend_tell.model import Captioner


@pytest.fixture(scope="module")
def captioner(trained):
    return show_attend_tell.load(str(trained))


@pytest.fixture(scope="module")
def files():
    """Encoded images that the captioner has never seen."""
    return [image.read() for image in load_scenes(0, 0, 5, 0).images]


@pytest.fixture(scope="module")
def captions(captioner, files):
    """In batches, of which the last is padded."""
    return captioner.caption(files, batch_size=2)


def assert_same(one, other):
    assert one.words == other.words
    assert one.log_probability == pytest.approx(other.log_probability, abs=1e-4)
    np.testing.assert_allclose(one.attention, other.attention, atol=1e-4)


def test_a_caption_has_words_scores_and_attention(captions):
    assert len(captions) == 5
    for caption in captions:
        assert caption.text == " ".join(caption.words)
        words = len(caption.words)
        assert words >= 1
        assert caption.attention.shape == (words, 14, 14)
        np.testing.assert_allclose(caption.attention.sum((1, 2)), 1, rtol=1e-4)
        assert caption.gate.shape == (words,)
        assert caption.log_probability < 0
        length = words + caption.finished
        assert caption.score == pytest.approx(
            caption.log_probability / length**0.7, rel=1e-4
        )
        assert caption.alternatives == ()


def test_any_form_of_a_photo_gives_the_same_caption(
    captioner, files, captions, tmp_path
):
    path = tmp_path / "scene.png"
    path.write_bytes(files[0])
    pillow = Image.open(io.BytesIO(files[0]))
    forms = [
        files[0],
        str(path),
        path,
        pillow,
        np.asarray(pillow.convert("RGB")),
    ]
    for form in forms:
        assert_same(captioner.caption(form), captions[0])
    for actual in captioner.caption(forms, batch_size=2):
        assert_same(actual, captions[0])
    assert captioner.caption([]) == []


def test_it_renders_the_photo_that_was_given(captioner, files):
    caption = captioner.caption(files[0])
    picture = caption.draw()
    assert picture.width > 300
    again = caption.draw(np.zeros((50, 50, 3), np.uint8))
    assert np.asarray(picture).sum() > np.asarray(again).sum()


def test_hypotheses_come_best_first(captioner, files):
    best = captioner.caption(files[0], beam_width=4, num_captions=4)
    several = [best, *best.alternatives]
    assert len({one.words for one in several}) == 4
    scores = [one.score for one in several]
    assert scores == sorted(scores, reverse=True)
    assert all(
        isinstance(one.draw(files[0]), Image.Image) for one in several[1:]
    )


@pytest.mark.proof
def test_samples_follow_from_the_seed_and_the_number(captioner, files):
    sampling = {"method": "sample", "num_captions": 2, "temperature": 2.0}
    several = captioner.caption(files, **sampling)
    for batch_size in (1, 3):
        again = captioner.caption(files, batch_size, **sampling)
        for one, other in zip(several, again, strict=True):
            assert_same(one, other)
            assert_same(one.alternatives[0], other.alternatives[0])
    other_seed = captioner.caption(files, seed=1, **sampling)
    assert any(
        one.words != other.words
        for one, other in zip(several, other_seed, strict=True)
    )


@pytest.mark.proof
def test_words_from_one_location_show_it(captioner, files, captions):
    for mode in ("peak", "sampled"):
        caption = captioner.caption(files[0], context_mode=mode)
        assert len(caption.locations) == len(caption.words)
        ringed, plain = np.asarray(caption.draw()), caption.draw(locations=None)
        assert np.any(ringed != np.asarray(plain))
        again = captioner.caption(files, context_mode=mode)[0]
        assert again.locations == caption.locations
    peaks = captioner.caption(files[0], context_mode="peak")
    flat = peaks.attention.reshape(len(peaks.words), -1)
    assert peaks.locations == tuple(flat.argmax(1).tolist())
    assert captions[0].locations is None


def test_a_caption_of_no_photo_asks_for_it(captioner):
    annotations = np.ones((1, 196, 128), np.float32)
    (caption,) = captioner.caption_generator.captions(
        annotations, captioner.decoding
    )
    with pytest.raises(ValueError, match="give it"):
        caption.draw()


@pytest.mark.parametrize(
    "photo",
    [
        b"",
        b"no image",
        "missing.jpg",
        pathlib.Path("missing.jpg"),
        3,
        None,
        np.zeros((2, 10, 10, 3), np.uint8),
        np.zeros((10, 10, 3), np.float32),
        np.zeros((10, 0, 3), np.uint8),
    ],
    ids=repr,
)
def test_what_is_no_photo_is_refused(captioner, photo):
    with pytest.raises(UserError, match="Expected|damaged"):
        captioner.caption(photo)


def test_unknown_settings_are_refused(captioner, files):
    with pytest.raises(UserError, match="Received: width"):
        captioner.caption(files[0], width=3)
    with pytest.raises(UserError, match="--beam_width"):
        captioner.caption(files[0], beam_width=0)


def test_the_log_probability_is_of_this_caption(captioner, files):
    # Of all captions of one word and the end there are, none is likelier.
    one = captioner.caption(
        files[0],
        max_words=1,
        beam_width=30,
        num_captions=30,
        length_penalty=0.0,
    )
    several = [one, *one.alternatives]
    total = sum(math.exp(c.log_probability) for c in several if c.finished)
    assert 0 < total <= 1 + 1e-6
    assert one.log_probability == max(c.log_probability for c in several)


def test_an_ensemble_of_one_model_twice_is_that_model(trained, files, captions):
    together = show_attend_tell.load(str(trained), ensemble=[str(trained)])
    for one, other in zip(captions, together.caption(files, 2), strict=True):
        assert_same(one, other)


def test_models_that_do_not_belong_together_are_named(trained, tmp_path):
    def error_of(path):
        with pytest.raises(UserError) as error:
            load_ensemble(str(trained), [str(path)])
        assert str(tmp_path) in str(error.value)
        return str(error.value)

    folder = tmp_path / "without" / "metadata"
    folder.mkdir(parents=True)
    shutil.copy(trained / "best.keras", folder)
    assert "with encoder.json" in error_of(folder / "best.keras")
    values = json.loads((trained / "encoder.json").read_text())
    other = tmp_path / "encoder.json"
    other.write_text(json.dumps({**values, "resize_mode": "crop"}))
    shutil.copy(trained / "best.keras", tmp_path / "other.keras")
    assert "(cd " in error_of(tmp_path / "other.keras")
    list_files(tmp_path, ["encoder.json", "other.keras"])
    assert "resize_mode" in error_of(tmp_path / "other.keras")
    shutil.copy(trained / "encoder.json", other)
    assert "is of another folder" in error_of(tmp_path / "other.keras")
    list_files(tmp_path, ["encoder.json", "other.keras"])
    load_ensemble(str(trained), [str(tmp_path / "other.keras")])
    small = Captioner(ModelConfig(2, 2, 2), 9, "0" * 64)
    small.build({"annotations": (None, 4, 3), "tokens": (None, None, None)})
    small.save(tmp_path / "small.keras")
    list_files(tmp_path, ["encoder.json", "small.keras"])
    assert "other words" in error_of(tmp_path / "small.keras")
    assert "Expected the file" in error_of(tmp_path / "nothing.keras")
