"""TensorFlow Serving's REST protocol; nothing but Python is needed.

https://www.tensorflow.org/tfx/serving/api_rest
"""

import base64
import contextlib
import http.client
import json
import threading
import urllib.parse
from collections.abc import Iterator, Sequence

from show_attend_tell.serving.failures import (
    Unavailable,
    late,
    refused,
    too_large,
    unreachable,
)


class RestPredictor:
    """Sends requests to a model, each over a connection of its own.

    Args:
        host: Name or address of the server.
        port: Its REST port.
        model: Name of the model.
        version: Its version, or `None` for the one that the server prefers.
        signature: Name of the signature.
        max_bytes: The largest answer that is read.
    """

    port = "REST port, 8501 by default"

    def __init__(
        self,
        host: str,
        port: int,
        model: str,
        version: int | None,
        signature: str,
        max_bytes: int,
    ):
        self.target = f"{host}:{port}"
        self._address = host.strip("[]"), port
        self._signature, self._max_bytes = signature, max_bytes
        chosen = "" if version is None else f"/versions/{version}"
        model = urllib.parse.quote(model, safe="")
        self._path = f"/v1/models/{model}{chosen}:predict"

    def predict(self, images: Sequence[bytes], seconds: float) -> dict:
        """Returns the outputs of the signature, as lists in lists.

        Args:
            images: The encoded images.
            seconds: How long it may take.

        Raises:
            Unavailable: The connection was refused, or the status is 503.
            UserError: Anything else went wrong.
        """
        encoded = [{"b64": base64.b64encode(i).decode()} for i in images]
        request = {"signature_name": self._signature}
        request["inputs"] = {"images": encoded}
        status, content = self._post(json.dumps(request).encode(), seconds)
        if len(content) > self._max_bytes:
            raise too_large(self.target, self._max_bytes)
        try:
            answer = json.loads(content)
            found = answer["outputs" if status == 200 else "error"]
            if not isinstance(found, dict if status == 200 else str):
                raise TypeError
        # Deep nesting overflows the parser's stack.
        except (KeyError, TypeError, ValueError, RecursionError) as error:
            if status == 503:
                raise Unavailable("status 503") from error
            reason = f"status {status} and something that is no answer"
            raise unreachable(self.target, self.port, reason) from error
        if status == 503:
            raise Unavailable(found)
        if status != 200:
            raise refused(self.target, found)
        return found

    def close(self) -> None:
        """Does nothing: no connection is kept."""

    def _post(self, body: bytes, seconds: float) -> tuple[int, bytes]:
        connection = http.client.HTTPConnection(*self._address, timeout=seconds)
        expired = threading.Event()
        try:
            connection.connect()
            with _cut_after(seconds, connection.sock, expired):
                connection.request(
                    "POST",
                    self._path,
                    body,
                    {"Content-Type": "application/json"},
                )
                response = connection.getresponse()
                content = response.read(self._max_bytes + 1)
        except ConnectionRefusedError as error:
            raise Unavailable("the connection was refused") from error
        except TimeoutError as error:
            raise late(self.target, seconds) from error
        except (OSError, http.client.HTTPException) as error:
            if expired.is_set():
                raise late(self.target, seconds) from error
            reason = error
            if isinstance(error, http.client.HTTPException):
                reason = "something that is not HTTP"
            raise unreachable(self.target, self.port, reason) from error
        finally:
            connection.close()
        if expired.is_set():
            raise late(self.target, seconds)
        return response.status, content


@contextlib.contextmanager
def _cut_after(seconds: float, sock, expired: threading.Event) -> Iterator:
    """Ends a connection when time is up.

    A socket's own timeout begins anew with each byte, so a server that sends
    one now and then would hold the client for ever.
    """

    def cut():
        expired.set()
        with contextlib.suppress(OSError):
            sock.shutdown(2)  # Both ways.

    timer = threading.Timer(seconds, cut)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
