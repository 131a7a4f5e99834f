"""A test double of `tensorflow_model_server`, which cannot be run here.

Real are the exported model in TensorFlow's C++ session (the loader that the
server uses), gRPC with the stubs and protos of tensorflow-serving-api, and
HTTP. The double replaces the server after its documentation and source: the
response or error of each request for images, over gRPC (`Predict`) and REST
(`:predict`, in rows and columns), what a server tells of its models
(`GetModelMetadata`, `/metadata`, status), and batching of concurrent requests.
It shows that client and model fit the protocol, not that the server loads the
model, nor how fast the server is.

    python -m tests.show_attend_tell.serving.double \
        --model_name=scenes --model_base_path=savedmodels/scenes

takes the server's own flags, loads all versions, prints its gRPC port and its
REST port, and serves until it is stopped. It logs nothing.
"""

import argparse
import base64
import collections
import concurrent.futures
import contextlib
import functools
import http.server
import json
import pathlib
import queue
import re
import signal
import threading
import time
import urllib.parse

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    predict_pb2,
    prediction_service_pb2_grpc,
)

from show_attend_tell.inference.saved_model_session import (
    FILE_NAME,
    SavedModelSession,
)

_HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
}
_FIELDS = {"f": "float_val", "i": "int_val", "b": "bool_val", "O": "string_val"}
_MODEL = r"/v1/models/([^/:]+)(?:/versions/(\d+))?"
_PREDICT = re.compile(rf"(?i){_MODEL}:predict")
_ABOUT = re.compile(rf"(?i){_MODEL}(/metadata)?")


class RequestError(Exception):
    """The error of a request, with the name of a gRPC status."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status


@contextlib.contextmanager
def parsing():
    """Turns what a request causes where it is parsed into its error."""
    try:
        yield
    except (
        ValueError, TypeError, LookupError, AttributeError, RecursionError
    ) as error:  # fmt: skip
        message = f"Malformed request: {error}"
        raise RequestError("INVALID_ARGUMENT", message) from None


class Batcher:
    """Answers concurrent requests together.

    A batch is run when it has `max_batch_size` images, or
    `batch_timeout_micros` after its first request, padded with its first
    image to the next of `allowed_batch_sizes`.
    """

    def __init__(self, predict, options):
        self._predict, self._options = predict, options
        self._queue = queue.Queue(options.max_enqueued_batches)
        self.sizes = collections.Counter()
        for _ in range(options.num_batch_threads):
            threading.Thread(target=self._work, daemon=True).start()

    def __call__(self, images):
        largest = self._options.max_batch_size
        if len(images) > largest:
            raise RequestError(
                "INVALID_ARGUMENT",
                f"Task size {len(images)} is larger than maximum input batch "
                f"size {largest}",
            )
        future = concurrent.futures.Future()
        try:
            self._queue.put_nowait((images, future))
        except queue.Full:
            message = (
                "The batch scheduling queue to which this task was submitted "
                "is full"
            )
            raise RequestError("UNAVAILABLE", message) from None
        return future.result()

    def _work(self):
        following = None
        while True:
            requests = [following or self._queue.get()]
            following = self._collect(requests)
            try:
                self._answer(requests)
            except Exception as error:
                for _, future in requests:
                    future.set_exception(error)

    def _collect(self, requests):
        """Adds requests that fit into the batch; returns one that does not."""
        end = time.monotonic() + self._options.batch_timeout_micros / 1e6
        free = self._options.max_batch_size - len(requests[0][0])
        while free:
            try:
                wait = max(end - time.monotonic(), 0)
                request = self._queue.get(timeout=wait)
            except queue.Empty:
                return None
            free -= len(request[0])
            if free < 0:
                return request
            requests.append(request)
        return None

    def _answer(self, requests):
        images = np.concatenate([images for images, _ in requests])
        allowed = self._options.allowed_batch_sizes or [len(images)]
        size = min(n for n in allowed if n >= len(images))
        padding = images[:1].repeat(size - len(images))
        outputs = self._predict(images=np.concatenate([images, padding]))
        self.sizes[size] += 1
        start = 0
        for images, future in requests:
            rows = slice(start, start + len(images))
            future.set_result({k: v[rows] for k, v in outputs.items()})
            start = rows.stop


class Model:
    """A version of a model, with or without batching."""

    def __init__(self, session: SavedModelSession, options):
        self.session = session
        self.batchers = {
            name: Batcher(functools.partial(session, name), options)
            for name in session.signatures
            if options.enable_batching
        }

    def metadata(self):
        """Returns all signatures of the version, as the server packs them."""
        path = pathlib.Path(self.session.path, FILE_NAME)
        saved = saved_model_pb2.SavedModel.FromString(path.read_bytes())
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, definition in saved.meta_graphs[0].signature_def.items():
            signatures.signature_def[name].CopyFrom(definition)
        return signatures

    def predict(self, signature, images):
        # Here, so that it does not reach the others of its batch.
        if images.ndim != 1 or not all(isinstance(x, bytes) for x in images):
            message = (
                f"Expected images of string, shape (N,). Received: "
                f"{images.dtype}, shape {images.shape}"
            )
            raise RequestError("INVALID_ARGUMENT", message)
        predict = self.batchers.get(signature) or functools.partial(
            self.session, signature
        )
        try:
            return predict(images=images)
        except tf.errors.OpError as error:
            raise RequestError("INVALID_ARGUMENT", error.message) from None


class Server:
    """Models by version, under one name; counts the requests of each."""

    def __init__(self, name: str, models: dict[int, Model]):
        self._name, self.models = name, models
        self.requests = collections.Counter()

    def find(self, name, version=None):
        """Returns a version's number and model, by default the newest."""
        number, model = self.look_up(name, version)
        self.requests[number] += 1
        return number, model

    def look_up(self, name, version=None):
        """The same, without counting a request."""
        if name != self._name or version not in {None, *self.models}:
            servable = f"Latest({name})"
            if version is not None:
                servable = f"Specific({name}, {version})"
            message = f"Servable not found for request: {servable}"
            raise RequestError("NOT_FOUND", message)
        version = max(self.models) if version is None else version
        return version, self.models[version]

    def metadata(self, request):
        """Answers a `GetModelMetadataRequest`."""
        for field in request.metadata_field or ("",):
            if field != "signature_def":
                message = f"Metadata field {field} is not supported"
                raise RequestError("INVALID_ARGUMENT", message)
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        version, model = self.look_up(spec.name, version)
        response = get_model_metadata_pb2.GetModelMetadataResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.metadata["signature_def"].Pack(model.metadata())
        return response

    def status(self, name, version=None):
        """Returns a `GetModelStatusResponse`."""
        self.look_up(name, version)
        response = get_model_status_pb2.GetModelStatusResponse()
        for number in sorted(self.models, reverse=True):
            if version in (None, number):
                state = get_model_status_pb2.ModelVersionStatus.AVAILABLE
                response.model_version_status.add(version=number, state=state)
                response.model_version_status[-1].status.SetInParent()
        return response


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The gRPC service."""

    def __init__(self, server: Server):
        self._server = server

    def Predict(self, request, context):  # noqa: N802
        with _aborting(context):
            return self._response(request)

    def GetModelMetadata(self, request, context):  # noqa: N802
        with _aborting(context):
            return self._server.metadata(request)

    def _response(self, request):
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        version, model = self._server.find(spec.name, version)
        signature = spec.signature_name or "serving_default"
        if signature not in model.session.signatures:
            message = f'Serving signature key "{signature}" not found.'
            raise RequestError("FAILED_PRECONDITION", message)
        with parsing():
            images = tf.make_ndarray(request.inputs["images"])
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = signature
        for name, value in model.predict(signature, images).items():
            # Each value in a field, as the server writes them.
            tensor = response.outputs[name]
            tensor.dtype = tf.as_dtype(value.dtype).as_datatype_enum
            for axis in value.shape:
                tensor.tensor_shape.dim.add(size=axis)
            field = getattr(tensor, _FIELDS[value.dtype.kind])
            field.extend(value.ravel().tolist())
        return response


@contextlib.contextmanager
def _aborting(context):
    try:
        yield
    except RequestError as error:
        context.abort(grpc.StatusCode[error.status], str(error))


class RestServer(http.server.ThreadingHTTPServer):
    """Listens for REST requests."""

    request_queue_size = 128

    def __init__(self, port: int, server: Server, max_bytes: int):
        super().__init__(("127.0.0.1", port), RestHandler)
        self.models, self.max_bytes = server, max_bytes


# Of protobuf's JSON, as the server writes it.
_EVERY_FIELD = {"always_print_fields_with_no_presence": True}


class RestHandler(http.server.BaseHTTPRequestHandler):
    """The REST API."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_GET(self):
        self._respond(self._about)

    def do_POST(self):
        self._respond(self._predict)

    def _respond(self, answer):
        try:
            status, value = 200, answer()
        except RequestError as error:
            status, value = _HTTP[error.status], {"error": str(error)}
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _named(self, pattern):
        """Returns the name and version in the path, and what follows them."""
        match = pattern.fullmatch(self.path)
        if not match:
            message = f"Malformed request: {self.command} {self.path}"
            raise RequestError("INVALID_ARGUMENT", message)
        name, version, *rest = match.groups()
        version = None if version is None else int(version)
        return urllib.parse.unquote(name), version, *rest

    def _about(self):
        name, version, metadata = self._named(_ABOUT)
        if not metadata:
            response = self.server.models.status(name, version)
            return json_format.MessageToDict(response, **_EVERY_FIELD)
        request = get_model_metadata_pb2.GetModelMetadataRequest()
        request.model_spec.name = name
        if version is not None:
            with parsing():
                request.model_spec.version.value = version
        request.metadata_field.append("signature_def")
        response = self.server.models.metadata(request)
        signatures = get_model_metadata_pb2.SignatureDefMap()
        response.metadata["signature_def"].Unpack(signatures)
        # The server, too, writes the two next to each other: `Any` would have
        # another form.
        names = {"preserving_proto_field_name": True, **_EVERY_FIELD}
        spec = json_format.MessageToDict(response.model_spec, **names)
        signatures = json_format.MessageToDict(signatures, **names)
        return {"model_spec": spec, "metadata": {"signature_def": signatures}}

    def _predict(self):
        with parsing():
            length = int(self.headers["Content-Length"])
        if length > self.server.max_bytes:
            # Read, or the client may lose the response while it still sends.
            for start in range(0, length, 2**16):
                self.rfile.read(min(2**16, length - start))
            message = f"body larger than {self.server.max_bytes}"
            raise RequestError("RESOURCE_EXHAUSTED", message)
        body = self.rfile.read(max(length, 0))
        _, model = self.server.models.find(*self._named(_PREDICT))
        with parsing():
            request = json.loads(body)
            signature = request.get("signature_name") or "serving_default"
            in_columns = "inputs" in request
            images = _decoded(request["inputs" if in_columns else "instances"])
            missing = signature not in model.session.signatures
        if missing:
            message = (
                f'Serving signature name: "{signature}" not found in '
                "signature def"
            )
            raise RequestError("INVALID_ARGUMENT", message)
        outputs = _encoded(model.predict(signature, images))
        if in_columns:
            return {"outputs": outputs}
        rows = zip(*outputs.values(), strict=True)
        rows = [dict(zip(outputs, row, strict=True)) for row in rows]
        return {"predictions": rows}


def _decoded(values):
    """Decodes images, in rows or in a column, with or without their name."""
    if isinstance(values, dict):
        values = values["images"]
    values = [value.get("images", value) for value in values]
    return np.array([base64.b64decode(v["b64"]) for v in values], object)


def _encoded(outputs):
    """Returns arrays as lists, and bytes as text."""
    return {
        name: (
            np.char.decode(v.astype(bytes)) if v.dtype == object else v
        ).tolist()
        for name, v in outputs.items()
    }


def parse_options(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_name", default="scenes")
    parser.add_argument("--model_base_path")
    parser.add_argument("--enable_batching", action="store_true")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rest_api_port", type=int, default=0)
    parser.add_argument("--max_request_bytes", type=int, default=2**27)
    # In the server these are lines of --batching_parameters_file.
    parser.add_argument("--max_batch_size", type=int, default=32)
    parser.add_argument("--batch_timeout_micros", type=int, default=5000)
    parser.add_argument("--max_enqueued_batches", type=int, default=100)
    parser.add_argument("--num_batch_threads", type=int, default=2)
    sizes = {"type": int, "nargs": "*", "default": ()}
    parser.add_argument("--allowed_batch_sizes", **sizes)
    return parser.parse_args(arguments)


@contextlib.contextmanager
def serving(server: Server, options):
    """Serves by both protocols; yields the gRPC port and the REST port."""
    rpc = grpc.server(
        concurrent.futures.ThreadPoolExecutor(64),
        options=[
            ("grpc.max_receive_message_length", options.max_request_bytes),
            ("grpc.max_send_message_length", -1),
        ],
    )
    prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(
        Prediction(server), rpc
    )
    port = rpc.add_insecure_port(f"127.0.0.1:{options.port}")
    rpc.start()
    rest = RestServer(options.rest_api_port, server, options.max_request_bytes)
    threading.Thread(target=rest.serve_forever, args=[0.02]).start()
    try:
        yield port, rest.server_port
    finally:
        rpc.stop(None)
        rest.shutdown()
        rest.server_close()


def main():
    options = parse_options()
    paths = pathlib.Path(options.model_base_path).iterdir()
    models = {
        int(path.name): Model(SavedModelSession(path), options)
        for path in paths
        if path.name.isdecimal()
    }
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    with serving(Server(options.model_name, models), options) as ports:
        print(*ports, flush=True)
        stopped.wait()


if __name__ == "__main__":
    main()
