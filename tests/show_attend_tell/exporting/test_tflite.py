"""A TFLite captioner computes the paper's equations."""

import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from pipelines.encoders.registry import build_encoder
from pipelines.errors import UserError
from pipelines.vocabulary import END
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.ensemble import Ensemble
from show_attend_tell.exporting import tflite
from show_attend_tell.exporting.archive import write_archive
from show_attend_tell.exporting.tflite import export_tflite
from show_attend_tell.exporting.tflite_signatures import tflite_signatures
from show_attend_tell.exporting.tflite_validation import (
    check,
    operations,
    passed_through,
)
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner
from show_attend_tell.inference.tflite_file import read_tflite
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.exporting import small
from tests.show_attend_tell.tiny import SMALL, D, L, V
from tests.tflite_files import model_of

pytest.importorskip("ai_edge_litert", reason="needs ai-edge-litert")

W = small.DECODING.max_words
U, A = SMALL.units, SMALL.attention_units


@pytest.fixture(scope="module")
def device(device_file):
    return TFLiteCaptioner(device_file)


@pytest.fixture(scope="module")
def oracles():
    """Squares, each with its oracle in NumPy."""
    captioner = small.captioner().caption_generator.captioner
    squares = small.squares(8)
    return [
        (square, plain.Oracle(captioner, small.annotations_of(square)))
        for square in squares
    ]


def asked(device, signature, **inputs):
    return device.interpreter.get_signature_runner(signature)(**inputs)


def test_signatures_have_the_names_and_fixed_shapes(device):
    captions = {
        "tokens": ((1, W), "int32"), "length": ((1,), "int32"),
        "finished": ((1,), "int32"), "log_probability": ((1,), "float32"),
        "score": ((1,), "float32"), "attention": ((1, W, L), "float32"),
        "gate": ((1, W), "float32"),
    }  # fmt: skip
    image = {"image": ((1, small.SIZE, small.SIZE, 3), "uint8")}
    annotations = {"annotations": ((1, L, D), "float32")}
    state = {name: ((1, U), "float32") for name in ("hidden", "cell")}
    constant = {
        "scaled": ((1, L, D), "float32"), "keys": ((1, L, A), "float32")
    }  # fmt: skip
    step = {"log_probabilities": ((1, V), "float32"), **state}
    step |= {"attention": ((1, L), "float32"), "gate": ((1, 1), "float32")}
    expected = {
        "greedy": (image, captions),
        "beam": (image, captions),
        "encode": (image, annotations),
        "start": (annotations, state | constant),
        "step": ({"token": ((1,), "int32")} | state | constant, step),
    }
    assert set(device.interpreter.get_signature_list()) == set(expected)
    for name, wanted in expected.items():
        run = device.interpreter.get_signature_runner(name)
        actual = tuple(
            {
                key: (tuple(one["shape"]), np.dtype(one["dtype"]).name)
                for key, one in details.items()
            }
            for details in (run.get_input_details(), run.get_output_details())
        )
        assert actual == wanted, name


@pytest.mark.parametrize("method", ["greedy", "beam"])
def test_captions_are_those_of_the_equations(device, oracles, method):
    lengths = set()
    for square, oracle in oracles:
        if method == "beam":
            captions = plain.beam(oracle, small.DECODING)[0]
        else:
            captions = plain.greedy(oracle, small.DECODING)
        actual = asked(device, method, image=square[None])
        words = [word for word in captions.words if word != END]
        rest = [0] * (W - len(words))
        assert actual["tokens"][0].tolist() == words + rest
        assert actual["length"] == len(words)
        assert bool(actual["finished"][0]) == captions.finished
        np.testing.assert_allclose(
            actual["log_probability"], captions.log_probability, atol=1e-4
        )
        np.testing.assert_allclose(
            actual["score"], captions.score(small.DECODING), atol=1e-4
        )
        n = len(words)
        np.testing.assert_allclose(
            actual["attention"][0, :n],
            oracle.attention(tuple(words)).reshape(n, L),
            atol=1e-5,
        )
        assert not actual["attention"][0, n:].any()
        assert not actual["gate"][0, n:].any()
        lengths.add((n, captions.finished))
    assert len(lengths) > 2
    # A beam seldom ends without one that ends.
    assert method == "beam" or {end for _, end in lengths} == {True, False}


def test_annotations_and_steps_are_those_of_the_equations(device, oracles):
    for square, oracle in oracles:
        encoded = asked(device, "encode", image=square[None])["annotations"]
        scaled = small.annotations_of(square)
        np.testing.assert_allclose(
            small.SCALE * encoded[0], scaled, rtol=1e-5, atol=1e-5
        )
        state = asked(device, "start", annotations=encoded)
        np.testing.assert_allclose(
            state["scaled"][0], scaled, rtol=1e-5, atol=1e-5
        )
        constant = {name: state[name] for name in ("scaled", "keys")}
        token, words = 1, ()
        for _ in range(3):
            carried = {name: state[name] for name in ("hidden", "cell")}
            state = asked(
                device, "step", token=np.array([token], np.int32),
                **carried, **constant,
            )  # fmt: skip
            expected, attention = oracle.predict(words)
            log_p = state["log_probabilities"][0]
            may = plain.allowed(words, small.DECODING)
            np.testing.assert_allclose(log_p[may], expected[may], atol=1e-4)
            assert log_p[[w for w in range(V) if w not in may]].max() < -1e8
            np.testing.assert_allclose(
                state["attention"][0], attention, atol=1e-5
            )
            token = 6
            words = (*words, token)


def test_all_operations_are_builtin(device_file):
    actual = operations(device_file)
    assert {"WHILE", "CONV_2D", "TOPK_V2"} <= actual
    assert not actual & {"CUSTOM", "VAR_HANDLE"}


def test_the_tail_holds_what_a_host_needs(device_file):
    settings, vocabulary, _ = read_tflite(device_file)
    assert vocabulary.words[4:] == tuple(small.WORDS)
    assert settings.decoding == small.DECODING
    assert (settings.name, settings.precision) == ("small", "float32")
    assert (settings.rows, settings.columns) == (1, L)
    assert (settings.image_size, settings.resize_mode) == (small.SIZE, "squash")
    assert (settings.padding, settings.start) == (0, 1)
    assert (settings.end, settings.unknown) == (2, 3)


def test_8_bit_files_are_smaller_and_mostly_agree(device_file, tmp_path):
    pytest.importorskip("ai_edge_quantizer", reason="needs [int8]")
    from show_attend_tell.exporting.int8_encoder import with_int8_encoder

    model = device_file.read_bytes()
    integers = with_int8_encoder(model, small.squares(16))
    path = tmp_path / "int8.tflite"
    path.write_bytes(integers)
    assert convolutions_of(device_file) == {"float32"}
    assert convolutions_of(path) == {"int8"}
    from ai_edge_litert.interpreter import Interpreter

    run = Interpreter(str(path)).get_signature_runner("encode")
    # Integers reach as far as the images that gave the ranges, and no further.
    seen = [small.annotations_of(square) for square in small.squares(16)]
    least, most = np.min(seen), np.max(seen)
    for square in small.squares(20):
        actual = small.SCALE * run(image=square[None])["annotations"][0]
        expected = np.clip(small.annotations_of(square), least, most)
        # 8 bits, of pixels, weights and results: a few parts in 256.
        apart = np.abs(actual - expected).max()
        assert 0 < apart < 0.02 * (most - least)


def test_layers_side_by_side_on_devices(tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_quantizer", reason="needs [int8]")
    from show_attend_tell.exporting.int8_encoder import with_int8_encoder

    captioner = small.captioner()
    captioner.encoder = small.encoder_of_two_layers()
    monkeypatch.setattr(tflite, "check", lambda *_: None)
    path, _ = export_tflite(captioner, tmp_path / "two.tflite")
    model, squares = model_of(pathlib.Path(path)), small.squares(16)
    integers = tmp_path / "integers.tflite"
    integers.write_bytes(with_int8_encoder(model, squares))
    assert convolutions_of(integers, 6) == {"int8"}
    from ai_edge_litert.interpreter import Interpreter

    exact, rounded = (
        Interpreter(str(each)).get_signature_runner("encode")
        for each in (path, integers)
    )
    for square in squares[:8]:
        expected = small.annotations_of(square) / small.SCALE
        # The last two are of the whole image, the same at every location.
        expected[:, 4:] = 0.5 * expected[:, 4:].mean(axis=0)
        actual = exact(image=square[None])["annotations"][0]
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-5)
        actual = rounded(image=square[None])["annotations"][0]
        # Each layer has a range of its integers of its own.
        for layer in (slice(0, 4), slice(4, 6)):
            apart = np.abs(actual[:, layer] - expected[:, layer]).max()
            assert 0 < apart < 0.02 * np.ptp(expected[:, layer]) + 0.02


def convolutions_of(path, count=3):
    """Returns the types of what convolutions give, in all signatures."""
    from ai_edge_litert import schema_py_generated as schema

    names = {v: k.lower() for k, v in vars(schema.TensorType).items()}
    model = schema.ModelT.InitFromPackedBuf(path.read_bytes(), 0)
    actual = [
        names[graph.tensors[operator.outputs[0]].type]
        for graph in model.subgraphs
        for operator in graph.operators
        if model.operatorCodes[operator.opcodeIndex].builtinCode
        == schema.BuiltinOperator.CONV_2D
    ]
    assert len(actual) == count  # Of greedy, beam, encode.
    assert not any(buffer.offset for buffer in model.buffers)
    return set(actual)


@pytest.mark.proof
@pytest.mark.parametrize("precision", ["float16", "dynamic"])
def test_other_precisions_are_checked_and_reported(precision, tmp_path):
    path, agreements = export_tflite(
        small.captioner(), tmp_path / "small.tflite", precision=precision
    )
    (agreement,) = agreements.values()
    assert agreement.photos == 16
    assert 0.7 < agreement.words <= 1
    assert read_tflite(path)[0].precision == precision
    assert os.listdir(tmp_path) == ["small.tflite"]


@pytest.mark.proof
def test_the_fine_tuned_part_of_the_encoder_is_exported(tmp_path):
    """`--finetune`: it lies in the captioner, behind pixels."""
    frozen = build_encoder("scenes", "pixels")
    pixels = keras.Input((frozen.grid[0] ** 2, 3))
    grid = keras.layers.Reshape((*frozen.grid, 3))(pixels)
    actual = keras.layers.Conv2D(D, 56, 56, activation="relu")(
        keras.layers.Rescaling(1 / 255)(grid)
    )
    captioner = plain.varied_captioner(
        encoder=keras.Model(pixels, actual, name="encoder")
    )
    vocabulary = small.captioner().caption_generator.vocabulary
    caption_generator = CaptionGenerator(
        captioner, vocabulary, (112, 112), "squash"
    )
    complete = WorkdirCaptioner(
        frozen, caption_generator, Decoding("greedy", max_words=4)
    )
    photos = [str(tmp_path / f"{n}.png") for n in range(3)]
    for photo, square in zip(photos, small.squares(3), strict=True):
        Image.fromarray(square).save(photo)
    path, agreements = export_tflite(
        complete, tmp_path / "complete.tflite", photos=photos
    )
    assert {name: one.photos for name, one in agreements.items()} == {
        "scenes": 16,
        "photos": 3,
    }
    agreement = agreements["photos"]
    assert agreement.greedy == agreement.beam == 1
    device = TFLiteCaptioner(path)
    square = np.zeros((112, 112, 3), np.uint8)
    assert device.caption(square).attention.shape[1:] == (2, 2)
    annotations = asked(device, "encode", image=square[None])["annotations"]
    assert annotations.shape == (1, 4, D)


def test_existing_files_stay(tmp_path, monkeypatch):
    there = tmp_path / "there.tflite"
    there.write_bytes(b"in use")
    with pytest.raises(UserError, match="stays as it is"):
        export_tflite(small.captioner(), there)

    def overtaken(*_):
        """Somebody else writes the same file in the meantime."""
        (tmp_path / "new.tflite").write_bytes(b"in use")

    monkeypatch.setattr(tflite, "_convert", lambda *_: b"    TFL3")
    monkeypatch.setattr(tflite, "check", overtaken)
    with pytest.raises(UserError, match="stays as it is"):
        export_tflite(small.captioner(), tmp_path / "new.tflite")
    assert sorted(os.listdir(tmp_path)) == ["new.tflite", "there.tflite"]
    assert {path.read_bytes() for path in tmp_path.iterdir()} == {b"in use"}


def test_what_fails_its_check_leaves_nothing(
    device_file, tmp_path, monkeypatch
):
    model = model_of(device_file)
    monkeypatch.setattr(tflite, "_convert", lambda *_: model)
    # A captioner that is not the one in the file.
    other = small.captioner(seed=12)
    with pytest.raises(UserError, match="not fit for devices"):
        export_tflite(other, tmp_path / "new.tflite")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"method": "sample"}, "--method=beam or greedy"),
        ({"context_mode": "sampled"}, "--context_mode=expected"),
        ({"num_captions": 2}, "--num_captions=1"),
    ],
)
def test_random_decoding_and_several_captions_are_refused(
    changes, message, tmp_path
):
    decoding = Decoding(**changes)
    with pytest.raises(UserError, match=message):
        tflite_signatures(small.captioner(), decoding)


def test_what_devices_cannot_run_is_refused(tmp_path):
    captioner = small.captioner()
    with pytest.raises(UserError, match="end in .tflite"):
        export_tflite(captioner, tmp_path / "model")
    with pytest.raises(UserError, match="--photos=FOLDER"):
        export_tflite(captioner, tmp_path / "a.tflite", precision="int8")
    captioner.caption_generator.captioner = Ensemble(
        [captioner.caption_generator.captioner]
    )
    with pytest.raises(UserError, match="--ensemble"):
        export_tflite(captioner, tmp_path / "a.tflite")


def converted(tmp_path, functions, custom=False):
    """Writes a file of functions as the export does, without its checks."""
    write_archive(tmp_path / "saved", functions)
    converter = tf.lite.TFLiteConverter.from_saved_model(
        str(tmp_path / "saved"), signature_keys=list(functions)
    )
    converter.allow_custom_ops = custom
    path = tmp_path / "converted.tflite"
    path.write_bytes(converter.convert())
    return path


def test_files_that_are_silently_broken_are_refused(tmp_path):
    captioner = small.captioner()
    takes = [tf.TensorSpec((1, 4), name="image")]
    custom = {"greedy": (lambda image: {"x": tf.math.erfinv(image)}, takes)}
    path = converted(tmp_path, custom, custom=True)
    with pytest.raises(UserError, match="devices lack: .*CUSTOM"):
        check(path, captioner, small.DECODING, "float32", {})

    names = ("greedy", "beam", "encode", "start", "step")
    same = {
        name: (lambda image: {"x": image, "y": 2 * image}, takes)
        for name in names
    }
    path = converted(tmp_path / "same", same)
    with pytest.raises(UserError, match="output of .*'start'.* its inputs"):
        check(path, captioner, small.DECODING, "float32", {})

    changed = {name: (lambda image: {"x": 2 * image}, takes) for name in names}
    path = converted(tmp_path / "empty", changed)
    big = small.captioner()
    big.encoder = build_encoder("scenes")  # More weights than the file has.
    with pytest.raises(UserError, match="bytes, for .* weights"):
        check(path, big, small.DECODING, "float32", {})
    assert passed_through(path) == []
