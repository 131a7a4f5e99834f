"""An exported captioner is used like one that was trained."""

import io
import json
import shutil

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from tensorflow.core.protobuf import saved_model_pb2

import show_attend_tell
from pipelines.checksums import list_files
from pipelines.errors import UserError
from pipelines.sources.scenes import load_scenes
from show_attend_tell.inference.saved_model_captioner import files_of_version
from tests.show_attend_tell.conftest import call_command


@pytest.fixture(scope="module")
def loaded(exported):
    return show_attend_tell.load(str(exported))


def forms(folder):
    """Photos in every form, also those that no server decodes."""
    first, second, third = load_scenes(0, 0, 3, 0).images
    path = folder / "scene.png"
    path.write_bytes(first.read())
    picture = Image.open(io.BytesIO(second.read())).convert("RGB")
    webp, turned = io.BytesIO(), io.BytesIO()
    picture.save(webp, "WEBP", lossless=True)
    exif = Image.Exif()
    exif[0x0112] = 6
    picture.rotate(90, expand=True).save(turned, "PNG", exif=exif)
    pixels = np.asarray(picture)
    return [
        str(path), path, picture, pixels, webp.getvalue(), turned.getvalue(),
        third.read(),
    ]  # fmt: skip


def test_captions_are_those_of_the_trained_one(
    loaded, keras_captioner, tmp_path
):
    photos = forms(tmp_path)
    actual = loaded.caption(photos, batch_size=4)
    expected = keras_captioner.caption(photos)
    for photo, one, other in zip(photos, actual, expected, strict=True):
        assert one.words == other.words
        assert one.finished == other.finished
        assert one.resize_mode == other.resize_mode and one.photo is photo
        assert one.log_probability == pytest.approx(other.log_probability)
        np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)
        texts = [a.text for a in one.alternatives]
        assert texts == [a.text for a in other.alternatives]
    assert actual[0].draw().size == expected[0].draw().size
    assert loaded.caption(photos[0]).words == actual[0].words


def test_settings_of_the_export_stay(loaded, keras_captioner):
    photo = np.zeros((20, 20, 3), np.uint8)
    assert loaded.caption(photo, num_captions=2).alternatives
    with pytest.raises(UserError, match="beam_width=3. Received: beam_width=5"):
        loaded.caption(photo, beam_width=5)
    with pytest.raises(UserError, match="Received: width"):
        loaded.caption(photo, width=5)


def test_what_is_no_photo_is_refused(loaded):
    with pytest.raises(UserError, match="Expected an image"):
        loaded.caption(b"no image")
    with pytest.raises(UserError, match="at most 50000000 pixels"):
        loaded.caption(Image.new("L", (8000, 7000)))


def test_a_photo_that_is_too_large_leaves_the_others(loaded):
    good, large = np.zeros((20, 20, 3), np.uint8), Image.new("L", (8000, 7000))
    first, error, last = loaded.captions_or_errors([good, large, good])
    assert "Received: 8000 x 7000" in str(error)
    assert first.words == last.words == loaded.caption(good).words


def test_a_graph_that_fails_is_named(loaded, exported, monkeypatch):
    def run(*_):
        raise tf.errors.InvalidArgumentError(None, None, "of no\nshape")

    monkeypatch.setattr(loaded.session._session, "run", run)
    with pytest.raises(UserError, match=f"{exported} cannot be run: shape"):
        loaded.caption(np.zeros((20, 20, 3), np.uint8))


def test_what_is_no_export_is_refused(exported, tmp_path):
    with pytest.raises(UserError, match="Train one"):
        show_attend_tell.load(str(tmp_path))
    (tmp_path / "saved_model.pb").write_bytes(b"damaged")
    list_files(tmp_path, ["saved_model.pb"])
    with pytest.raises(UserError, match="cannot be loaded"):
        show_attend_tell.load(str(tmp_path))


@pytest.fixture
def copy(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "copy")


def refused(copy):
    with pytest.raises(UserError) as error:
        show_attend_tell.load(str(copy))
    assert "Export it again" in str(error.value)
    assert "\n" not in str(error.value)
    return str(error.value)


def test_every_file_is_the_one_that_was_exported(copy):
    files = [path for path in copy.rglob("*") if path.is_file()]
    assert len(files) >= 6
    for path in files:
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        assert path.name in refused(copy)
        path.unlink()
        if path.name != "SHA256SUMS":
            assert f"{path}. Received: none" in refused(copy)
        else:
            assert "earlier versions" in refused(copy)
        path.write_bytes(good)
    # A file more, such as another graph that loaders prefer.
    (copy / "saved_model.cpb").write_bytes(b"")
    assert "saved_model.cpb, unlisted" in refused(copy)
    (copy / "saved_model.cpb").unlink()
    # Volumes of Kubernetes are links; a file manager leaves notes.
    (copy / ".DS_Store").write_bytes(b"")
    (copy / "variables").rename(copy.parent / "variables")
    (copy / "variables").symlink_to(copy.parent / "variables")
    show_attend_tell.load(str(copy))


@pytest.mark.parametrize(
    "change",
    [
        "[]",
        "7",
        "[" * 100_000,
        " " * 2**21,
        {"decoding": None},
        {"decoding": []},
        {"decoding": {"method": ["beam"]}},
        {"decoding": {"beam_width": 1e9}},
        {"decoding": {"words": 3}},
        {"resize_mode": ["squash"]},
        {"resize_mode": "stretch"},
    ],
    ids=lambda change: str(change)[:30],
)
def test_settings_that_are_none(copy, change):
    path = copy / "assets.extra" / "captioner.json"
    if isinstance(change, dict):
        values = json.loads(path.read_text())
        change = json.dumps({**values, **change})
    path.write_text(change)
    list_files(copy, files_of_version(str(copy)))
    assert "captioner.json" in refused(copy)


def test_signatures_that_are_none(copy, exported):
    model = saved_model_pb2.SavedModel()
    for name in ("n_best", "attention", "tokens"):
        data = (exported / "saved_model.pb").read_bytes()
        model.ParseFromString(data)
        signatures = model.meta_graphs[0].signature_def
        if name in signatures:
            del signatures[name]
        else:
            del signatures["n_best"].outputs[name]
        (copy / "saved_model.pb").write_bytes(model.SerializeToString())
        list_files(copy, files_of_version(str(copy)))
        assert name in refused(copy)


def test_the_command_captions_with_it(exported, trained, tmp_path):
    scene = load_scenes(0, 0, 1, 0).images[0].read()
    (tmp_path / "scene.png").write_bytes(scene)
    (tmp_path / "broken.png").write_bytes(b"no image")
    done = call_command("caption", f"--model={exported}", str(tmp_path))
    assert done.returncode == 1
    assert "scene.png:" in done.stdout and "broken.png" in done.stderr
    done = call_command(
        "caption", f"--model={exported}", f"--workdir={trained}", str(tmp_path)
    )
    assert done.returncode == 1
    assert "--workdir=RUN or --model=VERSION" in done.stderr
    assert "Traceback" not in done.stderr
