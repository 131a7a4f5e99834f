"""A double of `tensorflow_model_server`, which cannot be run here.

What is real: the exported model in TensorFlow's C++ session (the loader that
the server uses), gRPC with the stubs and protos of tensorflow-serving-api, and
HTTP. What stands in for the server is written from its documentation and
source: which request gives which answer or error, over gRPC (`Predict`) and
REST (predict in rows and columns, status), batching of concurrent requests,
and warm-up. It shows that client and model fit the protocol. It does not show
that the server loads the model, nor how fast the server is.

    python -m tests.show_attend_tell.serving.double \
        --model_name=scenes --model_base_path=savedmodels/scenes

takes the server's own flags, loads all versions, prints its two ports when it
is ready, and serves until it is stopped. It logs nothing.
"""

import argparse
import base64
import collections
import concurrent.futures
import glob
import http.server
import json
import os
import re
import signal
import threading
import time
import urllib.parse

import grpc
import numpy as np
import tensorflow as tf
from tensorflow_serving.apis import (
    predict_pb2,
    prediction_log_pb2,
    prediction_service_pb2_grpc,
)

from show_attend_tell.exporting.session import SavedModelSession
from show_attend_tell.exporting.warmup import FILE_NAME as WARMUP

_HTTP = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "UNAVAILABLE": 503,
}
_FIELDS = {"f": "float_val", "i": "int_val", "b": "bool_val", "O": "string_val"}


class RefusalError(Exception):
    """A request that is not answered, with the name of a gRPC status."""

    def __init__(self, status: str, message: str):
        super().__init__(message)
        self.status = status


class Batcher:
    """Answers concurrent requests together.

    Requests wait until `max_batch_size` images are there, or the first has
    waited for `batch_timeout_micros`. What is then run is filled up with its
    first row to the next of `allowed_batch_sizes`.
    """

    def __init__(self, run, options):
        self._run, self._options = run, options
        self._waiting, self._change = collections.deque(), threading.Condition()
        self.sizes = collections.Counter()
        for _ in range(options.num_batch_threads):
            threading.Thread(target=self._work, daemon=True).start()

    def __call__(self, inputs):
        size = len(next(iter(inputs.values())))
        largest = self._options.max_batch_size
        if size > largest:
            raise RefusalError(
                "INVALID_ARGUMENT",
                f"Task size {size} is larger than maximum input batch size "
                f"{largest}",
            )
        future = concurrent.futures.Future()
        with self._change:
            waiting = sum(size for _, size, _, _ in self._waiting)
            if waiting + size > largest * self._options.max_enqueued_batches:
                raise RefusalError(
                    "UNAVAILABLE",
                    "The batch scheduling queue to which this task was "
                    "submitted is full",
                )
            self._waiting.append((time.monotonic(), size, inputs, future))
            self._change.notify_all()
        return future.result()

    def _take(self):
        """Waits for a batch, and returns its requests."""
        timeout = self._options.batch_timeout_micros / 1e6
        with self._change:
            while True:
                if not self._waiting:
                    self._change.wait()
                    continue
                left = self._waiting[0][0] + timeout - time.monotonic()
                waiting = sum(size for _, size, _, _ in self._waiting)
                if left <= 0 or waiting >= self._options.max_batch_size:
                    break
                self._change.wait(left)
            taken, room = [], self._options.max_batch_size
            while self._waiting and self._waiting[0][1] <= room:
                taken.append(self._waiting.popleft())
                room -= taken[-1][1]
            return taken

    def _work(self):
        while True:
            taken = self._take()
            try:
                outputs = self._together([inputs for _, _, inputs, _ in taken])
            except Exception as error:
                for *_, future in taken:
                    future.set_exception(error)
                continue
            start = 0
            for _, size, _, future in taken:
                end = start + size
                future.set_result({k: v[start:end] for k, v in outputs.items()})
                start = end

    def _together(self, requests):
        merged = {
            name: np.concatenate([inputs[name] for inputs in requests])
            for name in requests[0]
        }
        size = len(next(iter(merged.values())))
        allowed = self._options.allowed_batch_sizes or [size]
        padding = min(n for n in allowed if n >= size) - size
        self.sizes[size + padding] += 1
        return self._run(
            **{
                name: np.concatenate([value, *[value[:1]] * padding])
                for name, value in merged.items()
            }
        )


class Model:
    """A version of a model in the C++ session."""

    def __init__(self, path, options):
        self.session = SavedModelSession(path)
        self.batchers = {}
        if options.enable_batching:
            for name in self.session.signatures:
                self.batchers[name] = Batcher(self._running(name), options)
        warmup = os.path.join(path, WARMUP)
        if os.path.exists(warmup):
            for record in tf.compat.v1.io.tf_record_iterator(warmup):
                log = prediction_log_pb2.PredictionLog.FromString(record)
                request = log.predict_log.request
                images = tf.make_ndarray(request.inputs["images"])
                signature = request.model_spec.signature_name
                self.session(signature, images=images)

    def _running(self, signature):
        return lambda **inputs: self.session(signature, **inputs)

    def predict(self, signature, inputs):
        known = self.session.signatures[signature].inputs
        if set(inputs) != set(known):
            raise RefusalError(
                "INVALID_ARGUMENT",
                f"input size does not match signature: {len(inputs)}!="
                f"{len(known)} len({{{','.join(inputs)}}}) != "
                f"len({{{','.join(known)}}}).",
            )
        for name, value in inputs.items():
            shape = tf.TensorShape(known[name].tensor_shape)
            if not shape.is_compatible_with(value.shape):
                raise RefusalError(
                    "INVALID_ARGUMENT",
                    f"Tensor {known[name].name} is of shape {shape}, "
                    f"received {value.shape}",
                )
        run = self.batchers.get(signature)
        try:
            if run:
                return run(inputs)
            return self.session(signature, **inputs)
        except tf.errors.OpError as error:
            raise RefusalError("INVALID_ARGUMENT", error.message) from None


class Server:
    """Models by version, and what requests may ask of them."""

    def __init__(self, options):
        self._name = options.model_name
        self.asked = collections.Counter()  # Versions.
        self.models = {
            int(os.path.basename(path)): Model(path, options)
            for path in glob.glob(os.path.join(options.model_base_path, "*"))
            if os.path.basename(path).isdecimal()
        }

    def find(self, name, version=None):
        """Returns a version's number and model; the newest, if none is said."""
        if name != self._name or (
            version is not None and version not in self.models
        ):
            asked = f"Latest({name})"
            if version is not None:
                asked = f"Specific({name}, {version})"
            raise RefusalError(
                "NOT_FOUND", f"Servable not found for request: {asked}"
            )
        version = max(self.models) if version is None else version
        self.asked[version] += 1
        return version, self.models[version]


class Prediction(prediction_service_pb2_grpc.PredictionServiceServicer):
    """The gRPC service."""

    def __init__(self, server):
        self._server = server

    def Predict(self, request, context):  # noqa: N802
        try:
            return self._answer(request)
        except RefusalError as error:
            context.abort(grpc.StatusCode[error.status], str(error))

    def _answer(self, request):
        spec = request.model_spec
        version = spec.version.value if spec.HasField("version") else None
        version, model = self._server.find(spec.name, version)
        signature = spec.signature_name or "serving_default"
        if signature not in model.session.signatures:
            raise RefusalError(
                "FAILED_PRECONDITION",
                f'Serving signature key "{signature}" not found.',
            )
        inputs = {k: tf.make_ndarray(v) for k, v in request.inputs.items()}
        response = predict_pb2.PredictResponse()
        response.model_spec.name = spec.name
        response.model_spec.version.value = version
        response.model_spec.signature_name = signature
        for name, value in model.predict(signature, inputs).items():
            # A value in a field each, as the server writes them.
            tensor = response.outputs[name]
            tensor.dtype = tf.as_dtype(value.dtype).as_datatype_enum
            for axis in value.shape:
                tensor.tensor_shape.dim.add(size=axis)
            field = getattr(tensor, _FIELDS[value.dtype.kind])
            field.extend(value.ravel().tolist())
        return response


def rest_handler(server, max_bytes):
    """Returns the class of handlers of the REST API."""
    path_of = re.compile(
        r"/v1/models/([^/:]+)(?:/versions/(\d+))?(:predict)?", re.IGNORECASE
    )

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def do_GET(self):
            self._reply(self._status)

        def do_POST(self):
            self._reply(self._predict)

        def _reply(self, answer):
            try:
                status, value = 200, answer()
            except RefusalError as error:
                status, value = _HTTP[error.status], {"error": str(error)}
            content = json.dumps(value).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def _find(self, predicts):
            match = path_of.fullmatch(self.path)
            if not match or bool(match[3]) != predicts:
                raise RefusalError(
                    "INVALID_ARGUMENT",
                    f"Malformed request: {self.command} {self.path}",
                )
            name = urllib.parse.unquote(match[1])
            return server.find(name, int(match[2]) if match[2] else None)

        def _status(self):
            version, _ = self._find(False)
            asked = "/versions/" in self.path.lower()
            return {
                "model_version_status": [
                    {
                        "version": str(number),
                        "state": "AVAILABLE",
                        "status": {"error_code": "OK", "error_message": ""},
                    }
                    for number in sorted(server.models, reverse=True)
                    if number == version or not asked
                ]
            }

        def _predict(self):
            length = int(self.headers.get("Content-Length", 0))
            if length > max_bytes:
                # Or the client may lose the answer to what it still sends.
                for start in range(0, length, 2**16):
                    self.rfile.read(min(2**16, length - start))
                raise RefusalError(
                    "RESOURCE_EXHAUSTED", f"body larger than {max_bytes}"
                )
            body = self.rfile.read(length)
            _, model = self._find(True)
            try:
                request = json.loads(body)
                signature = request.get("signature_name") or "serving_default"
                infos = model.session.signatures[signature].inputs
            except (AttributeError, ValueError) as error:
                raise RefusalError(
                    "INVALID_ARGUMENT", f"JSON Parse error: {error}"
                ) from None
            except KeyError:
                raise RefusalError(
                    "INVALID_ARGUMENT",
                    f'Serving signature name: "{signature}" not found in '
                    "signature def",
                ) from None
            if ("instances" in request) == ("inputs" in request):
                raise RefusalError(
                    "INVALID_ARGUMENT",
                    "Request must have either 'instances' or 'inputs'",
                )
            in_rows = "instances" in request
            given = decoded(request["instances" if in_rows else "inputs"])
            if (
                in_rows
                and isinstance(given, list)
                and given
                and all(isinstance(row, dict) for row in given)
            ):
                given = {k: [row.get(k) for row in given] for k in given[0]}
            if not isinstance(given, dict):
                given = {next(iter(infos)): given}
            try:
                inputs = {
                    name: np.asarray(
                        value, tf.as_dtype(infos[name].dtype).as_numpy_dtype
                    )
                    for name, value in given.items()
                }
            except (KeyError, TypeError, ValueError) as error:
                raise RefusalError(
                    "INVALID_ARGUMENT", f"Failed to process input: {error}"
                ) from None
            outputs = {
                name: encoded(value.tolist(), name.endswith("_bytes"))
                for name, value in model.predict(signature, inputs).items()
            }
            if not in_rows:
                return {"outputs": only(outputs)}
            rows = [
                only(dict(zip(outputs, row, strict=True)))
                for row in zip(*outputs.values(), strict=True)
            ]
            return {"predictions": rows}

    return Handler


def decoded(value):
    """JSON -> what it means: `{"b64": ...}` and text are bytes."""
    if isinstance(value, dict):
        if set(value) == {"b64"}:
            return base64.b64decode(value["b64"])
        return {name: decoded(inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [decoded(inner) for inner in value]
    return value.encode() if isinstance(value, str) else value


def encoded(value, binary):
    """Lists -> JSON."""
    if isinstance(value, list):
        return [encoded(inner, binary) for inner in value]
    if not isinstance(value, bytes):
        return value
    if binary:
        return {"b64": base64.b64encode(value).decode()}
    return value.decode()


def only(outputs):
    """Several outputs by name, or the only one."""
    return outputs if len(outputs) > 1 else next(iter(outputs.values()))


class Http(http.server.ThreadingHTTPServer):
    request_queue_size = 128


def options_of(arguments=None):
    parser = argparse.ArgumentParser()
    parser.add_argument("--model_name", required=True)
    parser.add_argument("--model_base_path", required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--rest_api_port", type=int, default=0)
    parser.add_argument("--max_request_bytes", type=int, default=2**27)
    parser.add_argument("--enable_batching", action="store_true")
    # In the server these are lines of --batching_parameters_file.
    parser.add_argument("--max_batch_size", type=int, default=32)
    parser.add_argument("--batch_timeout_micros", type=int, default=5000)
    parser.add_argument("--max_enqueued_batches", type=int, default=100)
    parser.add_argument("--num_batch_threads", type=int, default=2)
    parser.add_argument(
        "--allowed_batch_sizes", type=int, nargs="*", default=()
    )
    return parser.parse_args(arguments)


def start(options, server=None):
    """Starts both servers, perhaps with models that are loaded already.

    Returns the models, both ports, and what stops the servers.
    """
    server = server or Server(options)
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
    handler = rest_handler(server, options.max_request_bytes)
    rest = Http(("127.0.0.1", options.rest_api_port), handler)
    threading.Thread(target=rest.serve_forever, daemon=True).start()

    def stop():
        rpc.stop(None)
        rest.shutdown()
        rest.server_close()

    return server, port, rest.server_address[1], stop


def main():
    options = options_of()
    _, port, rest_port, stop = start(options)
    print(port, rest_port, flush=True)
    ended = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    ended.wait()
    stop()


if __name__ == "__main__":
    main()
