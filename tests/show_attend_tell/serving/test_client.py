"""The client against a double of the server, and against bad servers."""

import base64
import concurrent.futures
import io
import json
import subprocess
import sys
import threading
import time
import urllib.request

import numpy as np
import pytest
from PIL import Image

from pipelines.errors import UserError
from pipelines.sources.scenes import load_scenes
from show_attend_tell.serving import client as client_module
from show_attend_tell.serving.client import ServingClient
from show_attend_tell.serving.photos import servable_image
from tests.conftest import ROOT
from tests.show_attend_tell.conftest import run_command
from tests.show_attend_tell.serving.conftest import (
    dripping_server,
    free_port,
    http_server,
    serving,
)
from tests.show_attend_tell.serving.test_answers import ANSWER, CASES

pytest.importorskip(
    "tensorflow_serving.apis",
    reason="needs pip install tensorflow-serving-api",
)

PROTOCOLS = ("grpc", "rest")


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Scenes in every form that the client is given, by name."""
    folder = tmp_path_factory.mktemp("photos")
    scenes = [
        Image.open(io.BytesIO(image.read()))
        for image in load_scenes(0, 0, 6, 0).images
    ]
    scenes = [scene.convert("RGB").resize((300, 260)) for scene in scenes]
    scenes[0].save(folder / "plain.jpg")
    scenes[1].save(folder / "plain.png")
    scenes[2].save(folder / "plain.gif")
    scenes[3].save(folder / "plain.bmp")
    scenes[4].save(folder / "plain.webp")
    scenes[5].save(folder / "plain.tif")
    scenes[1].convert("CMYK").save(folder / "cmyk.jpg")
    turned = Image.Exif()
    turned[0x0112] = 6
    lying = scenes[2].transpose(Image.Transpose.ROTATE_90)
    lying.save(folder / "turned.jpg", exif=turned)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def expected(photos, keras_captioner):
    """What the captioner itself says of the photos."""
    # It does not read TIFF.
    given = [Image.open(p) if p.suffix == ".tif" else str(p) for p in photos]
    return keras_captioner.caption(given)


def assert_same(found, expected):
    assert found.words == expected.words
    assert found.finished == expected.finished
    assert found.resize_mode == expected.resize_mode
    assert found.locations == expected.locations
    np.testing.assert_allclose(found.attention, expected.attention, atol=1e-5)
    np.testing.assert_allclose(found.gate, expected.gate, atol=1e-5)
    for name in ("log_probability", "score"):
        assert getattr(found, name) == pytest.approx(
            getattr(expected, name), rel=1e-4
        )


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_says_what_the_captioner_says(served, photos, expected, protocol):
    images = [servable_image(photo) for photo in photos]
    target = served.targets[protocol]
    with ServingClient(target, protocol, batch_size=3) as client:
        for found, caption in zip(client.stream(images), expected, strict=True):
            assert_same(found, caption)
            assert not found.alternatives
        assert_same(client.caption(photos[0]), expected[0])
    with ServingClient(target, protocol, signature="n_best") as client:
        for found, caption in zip(client.stream(images), expected, strict=True):
            assert_same(found, caption)
            (found,), (caption,) = found.alternatives, caption.alternatives
            assert_same(found, caption)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_chooses_the_version(served, photos, protocol):
    for version, asked in ((1, 1), (None, 3)):
        before = served.server.asked[asked]
        target = served.targets[protocol]
        with ServingClient(target, protocol, version=version) as client:
            client.caption(photos[0])
        assert served.server.asked[asked] == before + 1


@pytest.mark.parametrize("protocol", PROTOCOLS)
@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"version": 2}, r"Specific\(scenes, 2\).*--version"),
        ({"model": "no/ne"}, r"Latest\(no/ne\).*--model"),
        ({"signature": "none"}, r'"none" not found.*--signature'),
        ({"signature": "encode"}, "caption.*missing"),
    ],
)
def test_names_what_the_server_does_not_have(
    served, photos, protocol, wrong, message
):
    client = ServingClient(served.targets[protocol], protocol, **wrong)
    with pytest.raises(UserError, match=message):
        client.caption(photos[0])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_a_bad_photo_does_not_harm_the_others(
    served, photos, expected, protocol
):
    whole = servable_image(photos[0])
    images = [whole, whole[: len(whole) // 2], whole]
    with ServingClient(served.targets[protocol], protocol) as client:
        first, none, last = client.stream(images)
        assert none is None
        with pytest.raises(UserError, match="cannot decode"):
            client.caption(images[1])
    number = [photo.name for photo in photos].index("cmyk.jpg")
    for found in (first, last):
        assert_same(found, expected[number])


def test_the_command_prints_draws_and_names(served, photos, tmp_path):
    whole = photos[0].read_bytes()
    cut, words = tmp_path / "cut.jpg", tmp_path / "words.jpg"
    cut.write_bytes(whole[: len(whole) // 2])
    words.write_text("no image")
    picture = tmp_path / "pictures" / "attention.png"
    done = run_command(
        "client",
        f"--target={served.targets['rest']}",
        "--protocol=rest",
        "--batch_size=2",
        f"--attention={picture}",
        *map(str, (cut, photos[0], words, photos[1])),
    )
    assert done.returncode == 1
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert set(lines) == {str(photos[0]), str(photos[1])}
    assert f"the server cannot decode {cut}" in done.stderr
    assert "words.jpg" in done.stderr
    assert "2 of 4 not captioned" in done.stderr
    assert "Traceback" not in done.stderr
    assert Image.open(picture).height > 300  # One below the other.


def test_the_command_tells_a_mistake_in_a_line(photos, tmp_path):
    for flags, message in (
        (["--target=nowhere"], "localhost:8500"),
        ([f"--target=localhost:{free_port()}", "--retries=0"], "refused"),
        (["--target=localhost:1", "--attention=a.jpg"], ".png"),
    ):
        done = run_command("client", "--protocol=rest", *flags, str(photos[0]))
        assert done.returncode == 1
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_rest_needs_neither_tensorflow_nor_stubs():
    code = (
        "import sys; from show_attend_tell.serving.client import *; "
        "ServingClient('localhost:8501', 'rest'); "
        "print({'tensorflow', 'keras', 'grpc'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True
    )
    assert done.stdout.strip() == "set()", done.stderr


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_waits_no_longer_than_told(photos, protocol):
    with dripping_server() as target:
        client = ServingClient(target, protocol, timeout=0.5, retries=0)
        start = time.monotonic()
        with pytest.raises(UserError):
            client.caption(photos[0])
        assert time.monotonic() - start < 5


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_tells_that_time_is_up(served, photos, protocol, monkeypatch):
    model = served.server.models[3]
    answer = model.predict

    def slowly(*arguments):
        time.sleep(1)
        return answer(*arguments)

    monkeypatch.setattr(model, "predict", slowly)
    client = ServingClient(served.targets[protocol], protocol, timeout=0.3)
    with pytest.raises(UserError, match="within 0.3 seconds"):
        client.caption(photos[0])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_waits_for_a_server_that_comes_late(exported, served, photos, protocol):
    port = free_port()
    flag = {"grpc": "--port", "rest": "--rest_api_port"}[protocol]
    client = ServingClient(f"localhost:{port}", protocol, retries=8)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(client.caption, photos[0])
        time.sleep(1)
        assert not asked.done()
        flags = [f"{flag}={port}"]
        with serving(exported.parent, *flags, server=served.server):
            assert asked.result(timeout=60).finished in (True, False)


def test_asks_a_busy_server_again_and_no_other(photos, monkeypatch):
    monkeypatch.setattr(client_module, "_FIRST_WAIT", 0.02)
    one = {name: value[:1] for name, value in ANSWER.items()}
    good = (200, json.dumps({"outputs": one}).encode())
    busy = (503, b'{ "error": "The batch scheduling queue is full" }')
    with http_server(busy, busy, good) as (target, asked):
        client = ServingClient(target, "rest", retries=2)
        assert client.caption(photos[0]).text == "a dog"
        assert len(asked) == 3
    with http_server(busy) as (target, asked):
        with pytest.raises(UserError, match="queue is full"):
            ServingClient(target, "rest", retries=2).caption(photos[0])
        assert len(asked) == 3
    for status in (400, 404, 429, 500, 504):
        refusal = (status, b'{ "error": "no" }')
        with http_server(refusal) as (target, asked):
            with pytest.raises(UserError, match="refused"):
                ServingClient(target, "rest").caption(photos[0])
            assert len(asked) == 1


def test_asks_grpc_again_only_if_unavailable(served, photos, monkeypatch):
    from tests.show_attend_tell.serving.double import RefusalError

    monkeypatch.setattr(client_module, "_FIRST_WAIT", 0.02)
    model = served.server.models[3]
    answer, asked = model.predict, []

    def refusing(status, times):
        def predict(*arguments):
            asked.append(status)
            if asked.count(status) <= times:
                raise RefusalError(status, "not now")
            return answer(*arguments)

        return predict

    client = ServingClient(served.targets["grpc"], retries=2)
    monkeypatch.setattr(model, "predict", refusing("UNAVAILABLE", 2))
    client.caption(photos[0])
    monkeypatch.setattr(model, "predict", refusing("RESOURCE_EXHAUSTED", 2))
    with pytest.raises(UserError, match="RESOURCE_EXHAUSTED: not now"):
        client.caption(photos[0])
    assert asked == ["UNAVAILABLE"] * 3 + ["RESOURCE_EXHAUSTED"]


BODIES = [
    b"",
    b"<html>",
    b"[" * 100_000,
    b"[]",
    b'{"outputs": []}',
    b'{"error": 1}',
    b'{"outputs": {"caption": "\xff"}}',
]


def test_a_strange_rest_answer_is_an_error_in_a_line(photos):
    bodies = [(200, body) for body in BODIES]
    bodies += [(status, b"no JSON") for status in (301, 404, 500)]
    for name, bad in CASES:
        answer = {"outputs": {**ANSWER, name: bad}}
        bodies.append((200, json.dumps(answer).encode()))
    images = [servable_image(photo) for photo in photos[:2]]
    with http_server(*bodies) as (target, asked):
        client = ServingClient(target, "rest", retries=0)
        for _ in bodies:
            with pytest.raises(UserError):
                list(client.stream(images))
        assert len(asked) == len(bodies)


def test_an_answer_is_not_read_for_ever(photos, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_RESPONSE_BYTES", 1000)
    with http_server((200, b" " * 10_000_000)) as (target, _):
        with pytest.raises(UserError, match="at most 1000 bytes"):
            ServingClient(target, "rest").caption(photos[0])


def test_a_grpc_answer_is_not_read_for_ever(served, photos, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_RESPONSE_BYTES", 1000)
    with pytest.raises(UserError, match="at most 1000 bytes"):
        ServingClient(served.targets["grpc"]).caption(photos[0])


def test_a_small_tensor_may_not_mean_a_large_one(served, photos, monkeypatch):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from tests.show_attend_tell.serving import double

    def hostile(shape, **fields):
        response = predict_pb2.PredictResponse()
        tensor = response.outputs["attention"]
        tensor.dtype = tf.float32.as_datatype_enum
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        for name, value in fields.items():
            getattr(tensor, name).extend(value)
        return lambda *_: response

    client = ServingClient(served.targets["grpc"])
    for answer, message in (
        (hostile((2**20, 2**20), float_val=[1.0]), "larger one"),
        (hostile((2, 2), float_val=[1.0, 2.0, 3.0, 4.0, 5.0]), "no tensor"),
        (hostile((-1, 3), float_val=[1.0]), "."),
        (hostile((1,), string_val=[b"x"]), "."),
    ):
        monkeypatch.setattr(double.Prediction, "_answer", answer)
        with pytest.raises(UserError, match=message):
            client.caption(photos[0])


def test_batches_hold_so_many_images_and_bytes(monkeypatch):
    client = ServingClient("localhost:1", "rest", batch_size=3)
    monkeypatch.setattr(client_module, "MAX_REQUEST_BYTES", 10)
    images = [b"1234", b"1234", b"1234", b"123456789012", b"1", b"2", b"3"]
    assert list(client._batches(images)) == [
        images[:2],
        images[2:3],
        images[3:4],
        images[4:],
    ]


def test_concurrent_requests_are_batched_and_answered_alike(
    exported, photos, expected
):
    flags = ["--enable_batching", "--batch_timeout_micros=300000"]
    flags += ["--max_batch_size=4", "--allowed_batch_sizes", "2", "4"]
    images = [servable_image(photo) for photo in photos]
    bad = images[0][:100]
    with serving(exported.parent, *flags) as double:
        client = ServingClient(double.targets["grpc"], signature="n_best")
        ready = threading.Barrier(2 * len(images))

        def ask(image):
            ready.wait()
            (caption,) = client.stream([image])
            return caption

        given = [x for image in images for x in (image, bad)]
        with concurrent.futures.ThreadPoolExecutor(len(given)) as pool:
            found = list(pool.map(ask, given))
        sizes = double.server.models[1].batchers["n_best"].sizes
        with pytest.raises(UserError, match="larger than maximum"):
            list(client.stream(images))
    assert set(sizes) <= {2, 4} and sizes[4] >= 2
    assert all(caption is None for caption in found[1::2])
    for caption, other in zip(found[::2], expected, strict=True):
        assert_same(caption, other)


def test_the_double_speaks_rest_as_documented(served, photos):
    url = f"http://{served.targets['rest']}/v1/models/scenes"
    with urllib.request.urlopen(url) as response:
        states = json.load(response)["model_version_status"]
    assert [state["version"] for state in states] == ["3", "1"]
    assert {state["state"] for state in states} == {"AVAILABLE"}
    image = {"b64": base64.b64encode(servable_image(photos[0])).decode()}
    answers = []
    for request in (
        {"instances": [image, image]},
        {"instances": [{"images": image}, {"images": image}]},
        {"inputs": [image, image]},
        {"inputs": {"images": [image, image]}},
    ):
        data = json.dumps(request).encode()
        with urllib.request.urlopen(f"{url}:predict", data) as response:
            answers.append(json.load(response))
    rows, named_rows, columns, named_columns = answers
    assert rows == named_rows and columns == named_columns
    assert set(columns["outputs"]) == set(ANSWER)
    for name, values in columns["outputs"].items():
        assert [row[name] for row in rows["predictions"]] == values


def test_the_double_has_a_limit_for_requests(exported, served, photos):
    flags = ["--max_request_bytes=1000"]
    with serving(exported.parent, *flags, server=served.server) as double:
        for protocol, target in double.targets.items():
            client = ServingClient(target, protocol)
            with pytest.raises(UserError, match="refused.*--batch_size"):
                client.caption(photos[0])
