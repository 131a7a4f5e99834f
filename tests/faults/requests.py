"""Attacks a server of an exported model, and the client of one.

Malformed requests come over REST and gRPC while a good one is under way,
often in the same batch. The good one is answered as ever, the other is
answered or refused with a status of the protocol, and the server goes on.
The client gets responses that were changed, and returns captions or says in a
line what is wrong.
"""

import base64
import concurrent.futures
import contextlib
import http.client
import json
import pathlib
import socket

import numpy as np

from tests.faults.campaign import Fault, Limits
from tests.faults.commands import check_error
from tests.faults.image_files import encode, image_files, picture
from tests.faults.image_mutations import mutate_image
from tests.faults.json_mutations import mutate_json
from tests.faults.mutations import mutate
from tests.faults.small_models import write_saved_model

ATTACK = "Requests to a server, and responses to a client, beside good ones"
LIMITS = Limits(seconds=5, mebibytes=1024)

_TIMEOUT = 20  # seconds
# Statuses of the protocols that say that a request is not in order.
_REFUSED = (400, 404, 405, 411, 413, 414, 429, 431, 501, 503, 505)
_GRPC_REFUSED = (
    "INVALID_ARGUMENT", "FAILED_PRECONDITION", "NOT_FOUND",
    "RESOURCE_EXHAUSTED", "UNIMPLEMENTED", "UNAVAILABLE",
)  # fmt: skip
_METHOD = "/tensorflow.serving.PredictionService/"


def prepare(folder: pathlib.Path) -> None:
    """Exports a captioner."""
    write_saved_model(folder / "small")


def start(folder: pathlib.Path):
    """Starts a server that batches; returns the function that tries a case."""
    import grpc

    from show_attend_tell.inference.saved_model_session import (
        SavedModelSession,
    )
    from tests.show_attend_tell.serving import double

    options = double.parse_options(["--enable_batching", "--max_batch_size=8"])
    model = double.Model(SavedModelSession(folder / "small" / "1"), options)
    serving = double.serving(double.Server("small", {1: model}), options)
    target = Target(*serving.__enter__())
    target.channel = grpc.insecure_channel(f"localhost:{target.rpc_port}")
    good = [encode(picture(40, 30, 7), "PNG"), encode(picture(9, 9, 8), "BMP")]
    target.good = json.dumps(rest_request(good)).encode()
    target.expected = target.captions()
    target.files = list(image_files().values())
    target.serving = serving  # Held, or it would end.
    return target.try_case


def rest_request(images: list[bytes]) -> dict:
    rows = [{"b64": base64.b64encode(image).decode()} for image in images]
    return {"signature_name": "serving_default", "inputs": {"images": rows}}


def grpc_request(images: list[bytes]) -> bytes:
    import tensorflow as tf
    from tensorflow_serving.apis import predict_pb2

    request = predict_pb2.PredictRequest()
    request.model_spec.name = "small"
    request.inputs["images"].CopyFrom(
        tf.make_tensor_proto(images, tf.string, [len(images)])
    )
    return request.SerializeToString()


class Target:
    """A server under attack."""

    def __init__(self, rpc_port: int, rest_port: int):
        self.rpc_port, self.rest_port = rpc_port, rest_port
        self.executor = concurrent.futures.ThreadPoolExecutor(2)

    def try_case(self, case) -> bool:
        attacks = (
            self.rest_body, self.rest_body, self.rest_image, self.rpc_bytes,
            self.rpc_bytes, self.rpc_image, self.rest_head, self.response,
        )  # fmt: skip
        attack = attacks[case.rng.integers(len(attacks))]
        good = self.executor.submit(self.captions)
        with case.measured():
            taken = attack(case)
            answers = [good.result(_TIMEOUT), self.captions()]
        for answer in answers:
            if answer != self.expected:
                raise Fault("lost good result", f"{answer}"[:400])
        return taken

    def captions(self) -> list:
        """Returns the captions that the server generates for good images."""
        status, content = self.post(self.good)
        if status != 200:
            raise Fault("lost good result", f"{status}: {content[:300]}")
        outputs = json.loads(content)["outputs"]
        return [outputs["caption"], outputs["tokens"], outputs["valid"]]

    def post(self, body: bytes, path="/v1/models/small:predict"):
        """Returns status and content of the response to a REST request."""
        connection = http.client.HTTPConnection(
            "localhost", self.rest_port, timeout=_TIMEOUT
        )
        with contextlib.closing(connection):
            connection.request("POST", path, body)
            response = connection.getresponse()
            return response.status, response.read()

    def rest(self, body: bytes) -> bool:
        """Sends a body that may be malformed; returns whether it was taken."""
        try:
            status, content = self.post(body)
        except (OSError, http.client.HTTPException) as error:
            raise Fault("traceback", f"REST: {error!r}") from error
        if status not in (200, *_REFUSED):
            raise Fault("status", f"REST {status}: {content[:300]}")
        json.loads(content)
        return status == 200

    def rest_body(self, case) -> bool:
        image = self.files[case.rng.integers(len(self.files))]
        request = rest_request([image, image])
        if case.rng.random() < 0.4:
            case.attack, body = mutate(json.dumps(request).encode(), case.rng)
        else:
            case.attack, text = mutate_json(request, case.rng)
            body = text.encode(errors="surrogatepass")
        case.attack = f"REST, {case.attack}"
        return self.rest(body)

    def rest_image(self, case) -> bool:
        image = self.files[case.rng.integers(len(self.files))]
        case.attack, image = mutate_image(image, case.rng, self.files)
        case.attack = "REST, image"
        return self.rest(json.dumps(rest_request([image])).encode())

    def rest_head(self, case) -> bool:
        """Changes the lines before the body; anything may be answered."""
        case.attack = "REST, head"
        head = (
            b"POST /v1/models/small:predict HTTP/1.1\r\nHost: localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        )
        head = mutate(head % len(self.good), case.rng)[1]
        address = "localhost", self.rest_port
        with socket.create_connection(address, _TIMEOUT) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(head + self.good)
                connection.shutdown(socket.SHUT_WR)
                answer = connection.recv(2**16)
                return answer[9:12] == b"200"
        return False

    def rpc(self, method: str, body: bytes) -> bool:
        import grpc

        call = self.channel.unary_unary(_METHOD + method)
        try:
            call(body, timeout=_TIMEOUT)
        except grpc.RpcError as error:
            name, reason = error.code().name, str(error.details())
            # What is no message at all, grpc refuses by itself.
            unread = "deserializ" in reason.lower()
            if name not in _GRPC_REFUSED and not unread:
                raise Fault("status", f"gRPC {name}: {reason[:300]}") from error
            return False
        return True

    def rpc_bytes(self, case) -> bool:
        image = self.files[case.rng.integers(len(self.files))]
        body = grpc_request([image, image])
        # The message is what comes before the images, and behind them.
        if case.rng.random() < 0.7:
            head = body.index(image)
            name, mutated = mutate(body[:head], case.rng)
            body = mutated + body[head:]
        else:
            name, body = mutate(body, case.rng)
        case.attack = f"gRPC, {name}"
        method = case.rng.choice(["Predict", "Predict", "GetModelMetadata"])
        return self.rpc(str(method), body)

    def rpc_image(self, case) -> bool:
        image = self.files[case.rng.integers(len(self.files))]
        image = mutate_image(image, case.rng, self.files)[1]
        case.attack = "gRPC, image"
        return self.rpc("Predict", grpc_request([image]))

    def response(self, case) -> bool:
        """Sends a response that was changed to the client."""
        from pipelines.errors import UserError
        from show_attend_tell.serving.client import ServingClient
        from show_attend_tell.serving.photos import servable_image
        from tests.show_attend_tell.serving.conftest import http_server

        _, content = self.post(self.good)
        if case.rng.random() < 0.3:
            name, body = mutate(content, case.rng)
        else:
            name, text = mutate_json(json.loads(content), case.rng)
            body = text.encode(errors="surrogatepass")
        case.attack = f"response, {name}"
        sent = [servable_image(np.zeros((9, 9, 3), np.uint8))] * 2
        with http_server((200, body)) as (address, _):
            with ServingClient(address, "rest", "small", retries=0) as client:
                try:
                    captions = list(client.stream(sent))
                except UserError as error:
                    check_error(error)
                    return False
        for caption in captions:
            if caption is not None and not caption.text.isprintable():
                raise Fault("message", f"printed as is: {caption.text!r}")
        return True
