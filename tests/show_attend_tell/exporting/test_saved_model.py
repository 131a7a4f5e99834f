"""A SavedModel answers as its captioner, where servers run it."""

import os
import pathlib

import numpy as np
import pytest
import tensorflow as tf

from pipelines.errors import UserError
from pipelines.sources.scenes import load_scenes
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.exporting import saved_model, saved_model_validation
from show_attend_tell.exporting.archive import write_archive
from show_attend_tell.exporting.saved_model import export_saved_model, versions
from show_attend_tell.exporting.saved_model_signatures import signatures
from show_attend_tell.inference.saved_model_session import SavedModelSession
from tests.pipelines.images.test_graph_decoding import images, undecodable
from tests.show_attend_tell.conftest import SETTINGS
from tests.show_attend_tell.exporting.c_session import CSession

H, T = SETTINGS["num_captions"], SETTINGS["max_words"] + 1
SHAPES = {
    "caption": (),
    "tokens": (T,),
    "length": (),
    "finished": (),
    "log_probability": (),
    "score": (),
    "attention": (T, 14, 14),
    "gate": (T,),
    "locations": (T,),
}


@pytest.fixture(scope="module")
def photos():
    """Thirty-two images of many sizes in all formats."""
    scenes = [image.read() for image in load_scenes(0, 0, 9, 0).images]
    return ([*images().values()] + scenes)[:32]


@pytest.fixture(scope="module")
def expected(keras_captioner, photos):
    """Keras's captions of these."""
    return keras_captioner.caption(photos, batch_size=32)


def assert_answers(answer, n, caption, vocabulary):
    """Compares an answer of `n_best` with Keras's captions of an image."""
    captions = (caption, *caption.alternatives)
    assert len(captions) == H
    for h, one in enumerate(captions):
        assert answer["caption"][n, h].decode() == one.text
        tokens = vocabulary.encode(one.text)[1 : None if one.finished else -1]
        length = len(one.words)
        assert answer["length"][n, h] == length
        padded = np.pad(tokens, (0, T - len(tokens)))
        np.testing.assert_array_equal(answer["tokens"][n, h], padded)
        assert answer["finished"][n, h] == one.finished
        attention = answer["attention"][n, h]
        np.testing.assert_allclose(
            attention[:length], one.attention, rtol=0, atol=1e-5
        )
        assert not np.any(attention[len(tokens) :])
        np.testing.assert_allclose(
            answer["gate"][n, h, :length], one.gate, rtol=0, atol=1e-5
        )
        for name in ("log_probability", "score"):
            assert answer[name][n, h] == pytest.approx(
                getattr(one, name), rel=1e-4
            )


def test_signatures_have_their_names_and_shapes(exported):
    with SavedModelSession(exported) as session:
        actual = {
            name: (
                [*one.inputs],
                {output: session.shape(name, output) for output in one.outputs},
            )
            for name, one in session.signatures.items()
        }
    best = {name: (None, *shape) for name, shape in SHAPES.items()}
    several = {name: (None, H, *shape) for name, shape in SHAPES.items()}
    valid = {"valid": (None,)}
    of_images = valid | {"resize_mode": (None,)}
    assert actual == {
        "serving_default": (["images"], best | of_images),
        "n_best": (["images"], several | of_images),
        "from_annotations": (["annotations"], several),
        "encode": (["images"], {"annotations": (None, 196, 128)} | valid),
    }


def test_captions_in_a_fresh_process_equal_those_of_keras(
    exported, keras_captioner, photos, expected
):
    vocabulary = keras_captioner.caption_generator.vocabulary
    requests = [("n_best", {"images": photos})]
    requests += [("n_best", {"images": [photo]}) for photo in photos[::5]]
    together, *single = saved_model_validation.fresh_answers(
        str(exported), requests
    )
    assert together["valid"].all()
    for n, caption in enumerate(expected):
        assert_answers(together, n, caption, vocabulary)
    for answer, caption in zip(single, expected[::5], strict=True):
        assert_answers(answer, 0, caption, vocabulary)


def test_captions_in_the_loader_of_servers_are_the_same(
    exported, photos, expected
):
    with SavedModelSession(exported) as session:
        signature = session.signatures["serving_default"]
    outputs = ["caption", "valid", "attention"]
    session = CSession(exported)
    actual = session.run(
        {signature.inputs["images"].name: np.array(photos, object)},
        [signature.outputs[name].name for name in outputs],
    )
    texts, valid, attention = actual
    assert [text.decode() for text in texts] == [one.text for one in expected]
    assert valid.all()
    for actual, one in zip(attention, expected, strict=True):
        np.testing.assert_allclose(
            actual[: len(one.words)], one.attention, rtol=0, atol=1e-5
        )


def test_undecodable_images_are_marked_and_change_no_other(exported, photos):
    bad = list(undecodable().values())
    good = photos[: len(bad)]
    with SavedModelSession(exported) as session:
        mixed = [x for pair in zip(good, bad, strict=True) for x in pair]
        answer = session("serving_default", images=mixed)
        single = session("serving_default", images=good)
        encoded = session("encode", images=bad)
    assert not encoded["valid"].any() and not encoded["annotations"].any()
    np.testing.assert_array_equal(answer["valid"], [True, False] * len(bad))
    for name, values in answer.items():
        if values.dtype.kind == "f":
            np.testing.assert_allclose(values[::2], single[name], atol=1e-5)
        else:
            np.testing.assert_array_equal(values[::2], single[name])
        nothing = {"caption": b"", "locations": -1}.get(name, 0)
        if name == "resize_mode":  # It is the model's, whatever the image.
            continue
        assert np.all(values[1::2] == nothing), name


def test_warm_up_records_are_the_servers_protos(exported):
    api = pytest.importorskip("tensorflow_serving.apis.prediction_log_pb2")
    file = exported / "assets.extra" / "tf_serving_warmup_requests"
    records = tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
    logs = [api.PredictionLog.FromString(record) for record in records]
    requests = [log.predict_log.request for log in logs]
    sizes = [r.inputs["images"].tensor_shape.dim[0].size for r in requests]
    assert sizes == [1, 2]
    assert {r.model_spec.name for r in requests} == {"scenes"}
    with SavedModelSession(exported) as session:
        for request in requests:
            photos = tf.make_ndarray(request.inputs["images"])
            name = request.model_spec.signature_name
            assert session(name, images=photos)["valid"].all()


def contents(folder):
    return {
        path.relative_to(folder): path.read_bytes() if path.is_file() else None
        for path in pathlib.Path(folder).rglob("*")
        if path.name != ".lock"
    }


def test_existing_versions_stay(untrained, tmp_path, monkeypatch):
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "saved_model.pb").write_bytes(b"served")
    killed = f".tmp-{2**22 + 1}-9"  # Of an export; larger than any process's.
    (tmp_path / killed).mkdir()
    with pytest.raises(UserError, match="--version=8"):
        export_saved_model(untrained, tmp_path, version=7)

    def overtaken(path, captioner, decoding):
        """Somebody else writes the same version in the meantime."""
        (tmp_path / "8").mkdir()

    monkeypatch.setattr(saved_model, "check", overtaken)
    with pytest.raises(UserError, match="came into being"):
        export_saved_model(untrained, tmp_path, batch_sizes=[1])
    assert versions(tmp_path) == [7, 8]
    assert contents(tmp_path) == {
        pathlib.Path("7"): None,
        pathlib.Path("7/saved_model.pb"): b"served",
        pathlib.Path("8"): None,
    }


@pytest.mark.proof
def test_an_export_that_fails_its_check_leaves_nothing(
    untrained, tmp_path, monkeypatch
):
    def changed_before(path, captioner, decoding):
        """Checks against a captioner that is no longer the same."""
        bias = captioner.caption_generator.captioner.output_layer.weights[-1]
        bias.assign(np.linspace(0, 9, bias.shape[0]))
        saved_model_validation.check(path, captioner, decoding)

    monkeypatch.setattr(saved_model, "check", changed_before)
    with pytest.raises(UserError, match="not fit to be served"):
        export_saved_model(untrained, tmp_path / "new", batch_sizes=[1])
    assert os.listdir(tmp_path) == []


def test_operations_that_servers_lack_are_refused(untrained, tmp_path):
    def python(images):
        return {"length": tf.numpy_function(len, [images], tf.int64)}

    def compiled(images):
        return {"length": inner(images)}

    inner = tf.function(tf.size, jit_compile=True)
    takes = tf.TensorSpec((None,), tf.float32, "images")
    for name, function in (("python", python), ("xla", compiled)):
        endpoint = {"serving_default": (function, [takes])}
        write_archive(tmp_path / name, endpoint)
        with pytest.raises(UserError, match="PyFunc|XLA"):
            saved_model_validation.check(
                str(tmp_path / name), untrained, untrained.decoding
            )


@pytest.mark.parametrize(
    "decoding", [Decoding("sample"), Decoding("greedy", context_mode="sampled")]
)
def test_random_decoding_is_refused(untrained, decoding):
    with pytest.raises(UserError, match="--method=beam or greedy"):
        signatures(untrained, decoding)
