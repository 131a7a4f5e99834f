"""The client against the double of the server, and malicious servers."""

import base64
import concurrent.futures
import io
import json
import subprocess
import sys
import threading
import time
import urllib.error
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
    WORDS,
    dripping_server,
    free_port,
    http_server,
    serving,
)
from tests.show_attend_tell.serving.test_responses import MALFORMED, RESPONSE

pytest.importorskip(
    "tensorflow_serving.apis", reason="needs pip install tensorflow-serving-api"
)

both_protocols = pytest.mark.parametrize("protocol", ["grpc", "rest"])


@pytest.fixture(scope="session")
def photos(tmp_path_factory):
    """Scenes in every format that the client reads, by name."""
    folder = tmp_path_factory.mktemp("photos")
    scenes = [
        Image.open(io.BytesIO(image.read())).convert("RGB").resize((300, 260))
        for image in load_scenes(0, 0, 6, 0).images
    ]
    formats = ("jpg", "png", "gif", "bmp", "webp", "tif")
    for scene, name in zip(scenes, formats, strict=True):
        scene.save(folder / f"plain.{name}")
    scenes[1].convert("CMYK").save(folder / "cmyk.jpg")
    exif = Image.Exif()
    exif[0x0112] = 6
    sideways = scenes[2].transpose(Image.Transpose.ROTATE_90)
    sideways.save(folder / "turned.jpg", exif=exif)
    return sorted(folder.iterdir())


@pytest.fixture(scope="session")
def images(photos):
    return [servable_image(photo) for photo in photos]


@pytest.fixture(scope="session")
def expected(photos, captioner):
    """Keras's captions of the photos."""
    # It does not read TIFF.
    readable = [Image.open(p) if p.suffix == ".tif" else p for p in photos]
    captions = captioner.caption(readable)
    assert len({caption.text for caption in captions}) > 4
    assert {word for one in captions for word in one.words} >= {*WORDS[:3]}
    assert {one.finished for one in captions} == {True, False}
    return captions


def assert_same(caption, expected):
    for one, other in zip(
        (caption, *caption.alternatives),
        (expected, *expected.alternatives),
        strict=bool(caption.alternatives),
    ):
        for name in ("words", "finished", "resize_mode", "locations"):
            assert getattr(one, name) == getattr(other, name)
        np.testing.assert_allclose(one.attention, other.attention, atol=1e-5)
        np.testing.assert_allclose(one.gate, other.gate, atol=1e-5)
        for name in ("log_probability", "score"):
            value = pytest.approx(getattr(other, name), rel=1e-4)
            assert getattr(one, name) == value


@both_protocols
def test_captions_equal_those_of_keras(
    served, photos, images, expected, protocol
):
    target = served.targets[protocol]
    with ServingClient(target, protocol, batch_size=3) as client:
        for caption, other in zip(client.stream(images), expected, strict=True):
            assert not caption.alternatives
            assert_same(caption, other)
        assert_same(client.caption(photos[0]), expected[0])
    with ServingClient(target, protocol, signature="n_best") as client:
        for caption, other in zip(client.stream(images), expected, strict=True):
            assert caption.alternatives
            assert_same(caption, other)


@both_protocols
def test_version_is_chosen(served, photos, protocol):
    for version, answering in ((1, 1), (None, 3)):
        before = served.server.requests[answering]
        target = served.targets[protocol]
        with ServingClient(target, protocol, version=version) as client:
            client.caption(photos[0])
        assert served.server.requests[answering] == before + 1


@both_protocols
@pytest.mark.parametrize(
    "wrong, message",
    [
        ({"version": 2}, r"Specific\(scenes, 2\).*--version"),
        ({"model": "no/ne"}, r"Latest\(no/ne\).*--model"),
        ({"signature": "none"}, r'"none" not found.*--signature'),
        ({"signature": "encode"}, "caption.*missing"),
    ],
)
def test_error_names_what_the_server_lacks(
    served, photos, protocol, wrong, message
):
    client = ServingClient(served.targets[protocol], protocol, **wrong)
    with pytest.raises(UserError, match=message):
        client.caption(photos[0])


@both_protocols
def test_undecodable_image_does_not_affect_others(
    served, images, expected, protocol
):
    truncated = images[0][: len(images[0]) // 2]
    with ServingClient(served.targets[protocol], protocol) as client:
        photos = [images[0], truncated, images[0]]
        first, error, last = client.captions_or_errors(photos)
        with pytest.raises(UserError, match="cannot decode"):
            client.caption(truncated)
    assert isinstance(error, UserError)
    for caption in (first, last):
        assert_same(caption, expected[0])


def test_command_prints_captions_and_errors(served, photos, tmp_path):
    complete = photos[0].read_bytes()
    truncated, words = tmp_path / "truncated.jpg", tmp_path / "words.jpg"
    truncated.write_bytes(complete[: len(complete) // 2])
    words.write_text("no image")
    figure = tmp_path / "pictures" / "attention.png"
    done = run_command(
        "client",
        f"--target={served.targets['rest']}",
        "--protocol=rest",
        "--batch_size=2",
        f"--attention={figure}",
        *map(str, (truncated, photos[0], words, photos[1])),
    )
    assert done.returncode == 1
    lines = dict(line.split(": ", 1) for line in done.stdout.splitlines())
    assert set(lines) == {str(photos[0]), str(photos[1])}
    assert f"{truncated}: The server cannot decode" in done.stderr
    assert f"2 figures of attention: {figure}" in done.stderr
    assert "words.jpg" in done.stderr
    assert "2 of 4 not captioned" in done.stderr
    assert "Traceback" not in done.stderr
    assert Image.open(figure).height > 300  # One below the other.


def test_command_reports_a_mistake_in_one_line(photos):
    for flags, message in (
        (["--target=nowhere"], "localhost:8500"),
        (["--target="], "a value of --target"),
        ([f"--target=localhost:{free_port()}", "--retries=0"], "refused"),
        (["--target=localhost:1", "--attention=a.jpg"], ".png"),
    ):
        done = run_command("client", "--protocol=rest", *flags, str(photos[0]))
        assert done.returncode == 1
        assert message in done.stderr
        assert len(done.stderr.strip().splitlines()) == 1


def test_addresses_and_times_out_of_range():
    for port in (65536, 99999):  # Which would wrap to another port.
        with pytest.raises(UserError, match=f"Received: 'localhost:{port}'"):
            ServingClient(f"localhost:{port}", "rest")
    for timeout in (float("nan"), float("inf"), 0, 1e6):
        with pytest.raises(UserError, match="--timeout"):
            ServingClient("localhost:8501", "rest", timeout=timeout)


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


@both_protocols
def test_slow_connection_ends_at_the_timeout(photos, protocol):
    with dripping_server() as target:
        client = ServingClient(target, protocol, timeout=0.3, retries=0)
        start = time.monotonic()
        with pytest.raises(UserError):
            client.caption(photos[0])
        assert time.monotonic() - start < 5


@both_protocols
def test_timeout_is_reported(served, photos, protocol, monkeypatch):
    monkeypatch.setattr(served.model, "predict", lambda *_: time.sleep(0.5))
    client = ServingClient(served.targets[protocol], protocol, timeout=0.2)
    with pytest.raises(UserError, match="within 0.2 seconds"):
        client.caption(photos[0])


@both_protocols
def test_client_waits_for_a_late_server(session, photos, protocol, monkeypatch):
    monkeypatch.setattr(client_module, "_MIN_WAIT", 0.1)
    port = free_port()
    flag = {"grpc": "--port", "rest": "--rest_api_port"}[protocol]
    client = ServingClient(f"localhost:{port}", protocol, retries=8)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        caption = pool.submit(client.caption, photos[0])
        time.sleep(0.3)
        assert not caption.done()
        with serving(session, f"{flag}={port}"):
            assert caption.result(timeout=60).words


def test_only_a_busy_rest_server_is_asked_again(photos, monkeypatch):
    monkeypatch.setattr(client_module, "_MIN_WAIT", 0.02)
    one = {name: value[:1] for name, value in RESPONSE.items()}
    good = (200, json.dumps({"outputs": one}).encode())
    busy = (503, b'{ "error": "The batch scheduling queue is full" }')
    with http_server(busy, busy, good) as (target, requests):
        client = ServingClient(target, "rest", retries=2)
        assert client.caption(photos[0]).text == "a dog"
        assert len(requests) == 3
    with http_server(busy) as (target, requests):
        with pytest.raises(UserError, match="queue is full"):
            ServingClient(target, "rest", retries=2).caption(photos[0])
        assert len(requests) == 3
    for status in (400, 404, 429, 500, 504):
        with http_server((status, b'{ "error": "no" }')) as (target, requests):
            with pytest.raises(UserError, match="refused"):
                ServingClient(target, "rest").caption(photos[0])
            assert len(requests) == 1


def test_only_an_unavailable_grpc_server_is_asked_again(
    served, photos, monkeypatch
):
    from tests.show_attend_tell.serving.double import RequestError

    monkeypatch.setattr(client_module, "_MIN_WAIT", 0.02)
    real_predict, requests = served.model.predict, []

    def fail_twice(status):
        def predict(*arguments):
            requests.append(status)
            if requests.count(status) <= 2:
                raise RequestError(status, "not now")
            return real_predict(*arguments)

        monkeypatch.setattr(served.model, "predict", predict)

    client = ServingClient(served.targets["grpc"], retries=2)
    fail_twice("UNAVAILABLE")
    client.caption(photos[0])
    fail_twice("RESOURCE_EXHAUSTED")
    with pytest.raises(UserError, match="RESOURCE_EXHAUSTED: not now"):
        client.caption(photos[0])
    assert requests == ["UNAVAILABLE"] * 3 + ["RESOURCE_EXHAUSTED"]


def test_malformed_rest_responses_are_refused(images):
    bodies = [b"", b"<html>", b"[" * 100_000, b"[]", b'{"outputs": []}']
    bodies += [b'{"error": 1}', b'{"outputs": {"caption": "\xff"}}']
    bodies += [
        json.dumps({"outputs": {**RESPONSE, name: value}}).encode()
        for name, value in MALFORMED
    ]
    responses = [(200, body) for body in bodies]
    responses += [(status, b"no JSON") for status in (301, 404, 500)]
    with http_server(*responses) as (target, requests):
        client = ServingClient(target, "rest", retries=0)
        for _ in responses:
            with pytest.raises(UserError):
                list(client.stream(images[:2]))
        assert len(requests) == len(responses)


def test_malformed_grpc_tensors_are_refused(served, photos, monkeypatch):
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    from tests.show_attend_tell.serving import double

    def response(shape, **fields):
        response = predict_pb2.PredictResponse()
        tensor = response.outputs["attention"]
        tensor.dtype = tf.float32.as_datatype_enum
        for size in shape:
            tensor.tensor_shape.dim.add(size=size)
        for name, value in fields.items():
            getattr(tensor, name).extend(value)
        return lambda *_: response

    client = ServingClient(served.targets["grpc"])
    for malformed, message in (
        # A small message of a large tensor.
        (response((2**20, 2**20), float_val=[1.0]), "larger one"),
        (response((2, 2), float_val=[1.0, 2.0, 3.0, 4.0, 5.0]), "no tensor"),
        (response((-1, 3), float_val=[1.0]), "."),
        (response((1,), string_val=[b"x"]), "."),
    ):
        monkeypatch.setattr(double.Prediction, "_response", malformed)
        with pytest.raises(UserError, match=message):
            client.caption(photos[0])


def test_large_responses_are_not_read(served, photos, monkeypatch):
    monkeypatch.setattr(client_module, "MAX_RESPONSE_BYTES", 1000)
    with http_server((200, b" " * 10_000_000)) as (target, _):
        targets = {"rest": target, "grpc": served.targets["grpc"]}
        for protocol, address in targets.items():
            with pytest.raises(UserError, match="at most 1000 bytes"):
                ServingClient(address, protocol).caption(photos[0])


def test_batches_have_limits_of_images_and_bytes(monkeypatch):
    client = ServingClient("localhost:1", "rest", batch_size=3)
    monkeypatch.setattr(client_module, "MAX_REQUEST_BYTES", 20)
    monkeypatch.setattr(client_module, "MAX_IMAGE_BYTES", 12)
    monkeypatch.setattr(client_module, "servable_image", lambda photo: photo)
    sent = []

    def predict(batch, seconds):
        sent.append(batch)
        return {
            name: np.repeat(np.asarray(value, object)[:1], len(batch), 0)
            for name, value in RESPONSE.items()
        }

    monkeypatch.setattr(client._predictor, "predict", predict)
    images = [b"1234", b"12345", b"1234", b"123456789012", b"1", b"2", b"3"]
    assert len(list(client.stream(images))) == len(images)
    assert [len(batch) for batch in sent] == [2, 2, 3]
    assert sum(sent, []) == images


def test_a_refused_photo_leaves_the_others(images, monkeypatch):
    client = ServingClient("localhost:1", "rest")
    one = {name: value[:1] for name, value in RESPONSE.items()}

    def predict(batch, seconds):
        if len(batch) > 1 or batch[0] == images[1]:
            raise client._endpoint.refused("out of memory")
        return one

    monkeypatch.setattr(client._predictor, "predict", predict)
    first, error, last = client.captions_or_errors(images[:3])
    assert first.text == last.text == "a dog"
    assert first.photo == images[0] and last.photo == images[2]
    assert "refused the request: out of memory" in str(error)


def test_concurrent_requests_are_batched_without_changing_captions(
    session, images, expected
):
    flags = ["--enable_batching", "--batch_timeout_micros=300000"]
    flags += ["--max_batch_size=4", "--allowed_batch_sizes", "2", "4"]
    requests = [x for image in images for x in (image, images[0][:100])]
    ready = threading.Barrier(len(requests))
    with serving(session, *flags) as running:
        client = ServingClient(running.targets["grpc"], signature="n_best")

        def send(image):
            ready.wait()
            (caption,) = client.captions_or_errors([image])
            return caption

        with concurrent.futures.ThreadPoolExecutor(len(requests)) as pool:
            captions = list(pool.map(send, requests))
        sizes = running.model.batchers["n_best"].sizes
        with pytest.raises(UserError, match="larger than maximum"):
            list(client.stream(images))
    assert set(sizes) <= {2, 4} and sizes[4] >= 2
    assert all(isinstance(one, UserError) for one in captions[1::2])
    for caption, other in zip(captions[::2], expected, strict=True):
        assert_same(caption, other)


def test_double_follows_the_documented_rest_api(served, images):
    url = f"http://{served.targets['rest']}/v1/models/scenes:predict"
    image = {"b64": base64.b64encode(images[0]).decode()}
    responses = []
    for request in (
        {"instances": [image, image]},
        {"instances": [{"images": image}, {"images": image}]},
        {"inputs": [image, image]},
        {"inputs": {"images": [image, image]}},
    ):
        data = json.dumps(request).encode()
        with urllib.request.urlopen(url, data) as response:
            responses.append(json.load(response))
    rows, named_rows, columns, named_columns = responses
    assert rows == named_rows and columns == named_columns
    assert set(columns["outputs"]) == set(RESPONSE)
    for name, values in columns["outputs"].items():
        assert [row[name] for row in rows["predictions"]] == values


def read_json(url: str, data: bytes | None = None):
    """Returns the status and the value of a response."""
    try:
        with urllib.request.urlopen(url, data) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


def test_metadata_is_in_the_form_of_tensorflow_serving(served):
    """The form in its documentation; numbers of 64 bits are text in it."""
    url = f"http://{served.targets['rest']}/v1/models/scenes"
    status, metadata = read_json(f"{url}/versions/1/metadata")
    assert status == 200
    assert metadata["model_spec"] == {
        "name": "scenes",
        "signature_name": "",
        "version": "1",
    }
    signatures = metadata["metadata"]["signature_def"]["signature_def"]
    assert set(signatures) >= {"serving_default", "n_best", "encode"}
    best = signatures["serving_default"]
    assert best["method_name"] == "tensorflow/serving/predict"
    assert best["inputs"]["images"] == {
        "name": "serving_default_images:0",
        "dtype": "DT_STRING",
        "tensor_shape": {
            "dim": [{"size": "-1", "name": ""}],
            "unknown_rank": False,
        },
    }
    assert set(best["outputs"]) == set(RESPONSE)
    assert best["outputs"]["caption"]["dtype"] == "DT_STRING"
    _, newest = read_json(f"{url}/metadata")
    assert newest["model_spec"]["version"] == "3"
    assert newest["metadata"] == metadata["metadata"]
    status = {"error_code": "OK", "error_message": ""}
    version = {"version": "3", "state": "AVAILABLE", "status": status}
    assert read_json(f"{url}/versions/3") == (
        200,
        {"model_version_status": [version]},
    )


def test_metadata_is_the_same_by_grpc(served):
    import grpc
    from tensorflow_serving.apis import (
        get_model_metadata_pb2,
        prediction_service_pb2_grpc,
    )

    request = get_model_metadata_pb2.GetModelMetadataRequest()
    request.model_spec.name = "scenes"
    with grpc.insecure_channel(served.targets["grpc"]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        with pytest.raises(grpc.RpcError, match="not supported"):
            stub.GetModelMetadata(request, timeout=20)
        request.metadata_field.append("signature_def")
        response = stub.GetModelMetadata(request, timeout=20)
    signatures = get_model_metadata_pb2.SignatureDefMap()
    assert response.metadata["signature_def"].Unpack(signatures)
    assert response.model_spec.version.value == 3
    images = signatures.signature_def["serving_default"].inputs["images"]
    assert images.dtype == 7  # DT_STRING


def test_malformed_requests_get_an_error_and_harm_no_other(served, images):
    rest = f"http://{served.targets['rest']}"
    url = f"{rest}/v1/models/scenes:predict"
    good = json.dumps(
        {"instances": [{"b64": base64.b64encode(images[0]).decode()}]}
    ).encode()
    _, expected = read_json(url, good)
    for body in (
        b"", b"[]", b"null", b"{", b"\xff", b"[" * 10**5, b"{}",
        b'{"instances": 1}', b'{"instances": [{}]}',
        b'{"instances": [{"b64": 1}]}', b'{"instances": [{"b64": "a"}]}',
        b'{"inputs": {"other": []}}', b'{"instances": [[{"b64": ""}]]}',
        b'{"instances": [], "signature_name": ["n_best"]}',
        b'{"instances": [], "signature_name": "none"}',
    ):  # fmt: skip
        status, value = read_json(url, body)
        assert status == 400 and set(value) == {"error"}, body[:50]
    for path in ("/", "/v1/models/scenes", "/v1/models/scenes:classify"):
        assert read_json(rest + path, good)[0] == 400
    assert read_json(f"{rest}/v2")[0] == 400
    for path in ("other/metadata", "scenes/versions/2/metadata"):
        assert read_json(f"{rest}/v1/models/{path}")[0] == 404
    assert read_json(url, good) == (200, expected)


def test_tensors_of_other_types_get_an_error(served):
    import grpc
    import tensorflow as tf
    from tensorflow_serving.apis import (
        predict_pb2,
        prediction_service_pb2_grpc,
    )

    with grpc.insecure_channel(served.targets["grpc"]) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        for tensor in (None, [1.0], b"", [[b""]]):
            request = predict_pb2.PredictRequest()
            request.model_spec.name = "scenes"
            if tensor is not None:
                proto = tf.make_tensor_proto(tensor)
                request.inputs["images"].CopyFrom(proto)
            with pytest.raises(grpc.RpcError) as raised:
                stub.Predict(request, timeout=20)
            assert raised.value.code() == grpc.StatusCode.INVALID_ARGUMENT


def test_too_large_requests_are_refused(session, photos):
    with serving(session, "--max_request_bytes=1000") as running:
        for protocol, target in running.targets.items():
            client = ServingClient(target, protocol)
            with pytest.raises(UserError, match="refused.*--batch_size"):
                client.caption(photos[0])
