"""Requests to TensorFlow Serving over REST, by the standard library.

https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import contextlib
import http.client
import json
import threading
import urllib.parse
from collections.abc import Iterator, Sequence

from show_attend_tell.serving.endpoint import Endpoint, Unavailable


class RestPredictor:
    """Sends requests to a model, each over a new connection."""

    port_name = "REST port, 8501"

    def __init__(self, endpoint: Endpoint):
        self._endpoint = endpoint
        model = urllib.parse.quote(endpoint.model, safe="")
        version = endpoint.version
        path = "" if version is None else f"/versions/{version}"
        self._path = f"/v1/models/{model}{path}:predict"

    def predict(self, images: Sequence[bytes], seconds: float) -> dict:
        """Returns the outputs of the signature, as nested lists.

        Raises:
            Unavailable: The connection was refused, or the status is 503.
            UserError: Anything else went wrong.
        """
        encoded = [{"b64": base64.b64encode(i).decode()} for i in images]
        request = {
            "signature_name": self._endpoint.signature,
            "inputs": {"images": encoded},
        }
        status, content = self._post(json.dumps(request).encode(), seconds)
        if len(content) > self._endpoint.max_bytes:
            raise self._endpoint.too_large()
        key, kind = ("outputs", dict) if status == 200 else ("error", str)
        try:
            value = json.loads(content)[key]
            if not isinstance(value, kind):
                raise TypeError
        # Deep nesting overflows the parser's stack.
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            if status == 503:
                raise Unavailable("status 503") from error
            raise self._endpoint.unreachable(
                f"status {status} and something that is no answer"
            ) from error
        if status == 503:
            raise Unavailable(value)
        if status != 200:
            raise self._endpoint.refused(value)
        return value

    def close(self) -> None:
        """Does nothing: no connection is kept."""

    def _post(self, body: bytes, seconds: float) -> tuple[int, bytes]:
        host = self._endpoint.host.strip("[]")
        connection = http.client.HTTPConnection(
            host, self._endpoint.port, timeout=seconds
        )
        expired = threading.Event()
        try:
            connection.connect()
            with _deadline(seconds, connection.sock, expired):
                headers = {"Content-Type": "application/json"}
                connection.request("POST", self._path, body, headers)
                response = connection.getresponse()
                content = response.read(self._endpoint.max_bytes + 1)
        except ConnectionRefusedError as error:
            raise Unavailable("the connection was refused") from error
        except (OSError, http.client.HTTPException) as error:
            if expired.is_set() or isinstance(error, TimeoutError):
                raise self._endpoint.timed_out(seconds) from error
            reason = error
            if isinstance(error, http.client.HTTPException):
                reason = "something that is not HTTP"
            raise self._endpoint.unreachable(reason) from error
        finally:
            connection.close()
        if expired.is_set():
            raise self._endpoint.timed_out(seconds)
        return response.status, content


@contextlib.contextmanager
def _deadline(seconds: float, sock, expired: threading.Event) -> Iterator:
    """Ends a connection when time is up.

    A socket's timeout starts again with each byte, so a server that sends
    one now and then would hold the client for ever.
    """

    def shutdown():
        expired.set()
        with contextlib.suppress(OSError):
            sock.shutdown(2)  # Both ways.

    timer = threading.Timer(seconds, shutdown)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
