"""A client of TensorFlow Serving that captions photos."""

import random
import re
import time
from collections.abc import Sequence

from pipelines.errors import UserError
from pipelines.images.decoding import Photo
from show_attend_tell.inference.caption import Caption, PhotoCaptioner
from show_attend_tell.serving.endpoint import Endpoint, Unavailable
from show_attend_tell.serving.photos import MAX_BYTES as MAX_IMAGE_BYTES
from show_attend_tell.serving.photos import servable_image
from show_attend_tell.serving.responses import parse_response
from show_attend_tell.serving.rest import RestPredictor
from show_attend_tell.serving.rpc import GrpcPredictor

PROTOCOLS = {"grpc": GrpcPredictor, "rest": RestPredictor}

MAX_REQUEST_BYTES = 64 * 2**20  # Of the images of a batch.
MAX_RESPONSE_BYTES = 64 * 2**20

_MIN_WAIT, _MAX_WAIT = 0.5, 8.0  # seconds

_LAST_PORT = 65535
_LONGEST_TIMEOUT = 86400


class ServingClient(PhotoCaptioner):
    """Sends photos to a server, and returns their captions.

        with ServingClient("localhost:8501", "rest", "scenes") as client:
            caption = client.caption("photo.jpg")  # as any captioner
        caption.draw().save("attention.png")

    Photos are neither kept nor logged.

    Args:
        target: `"HOST:PORT"`.
        protocol: `"grpc"` (needs the extra `serving`) or `"rest"`.
        model: The name by which the server knows the captioner.
        version: Its version, or `None` for the one that the server prefers.
        signature: `"serving_default"`, or `"n_best"` for captions with
            `alternatives`.
        batch_size: How many photos a request has at most.
        timeout: Seconds that a request may take, including retries.
        retries: How often a request is sent again to an absent or busy
            server, after 0.5, 1, 2, ... seconds.

    Raises:
        UserError: The target is not of that form, or a package is missing.
    """

    def __init__(
        self,
        target: str,
        protocol: str = "grpc",
        model: str = "scenes",
        version: int | None = None,
        signature: str = "serving_default",
        batch_size: int = 8,
        timeout: float = 60.0,
        retries: int = 4,
    ):
        match = re.fullmatch(r"([\w.-]+|\[[\da-fA-F:.]+\]):(\d{1,5})", target)
        if not match or int(match[2]) > _LAST_PORT:
            raise UserError(
                "Expected a target such as localhost:8500 or [::1]:8500. "
                f"Received: {target!r}"
            )
        if not 0 < timeout <= _LONGEST_TIMEOUT:
            raise UserError(
                f"Expected --timeout of up to {_LONGEST_TIMEOUT} seconds. "
                f"Received: {timeout}"
            )
        self.batch_size = batch_size
        self.timeout, self.retries = timeout, retries
        predictor = PROTOCOLS[protocol]
        self._endpoint = Endpoint(
            match[1],
            int(match[2]),
            predictor.port_name,
            model,
            version,
            signature,
            MAX_RESPONSE_BYTES,
        )
        self._predictor = predictor(self._endpoint)

    def decoding_of(self, **changes) -> None:
        """Refuses all settings: the server's model has its own."""
        if changes:
            raise UserError(
                "The decoding was chosen at export. Received: "
                + ", ".join(f"{name}={changes[name]}" for name in changes)
            )

    def prepare(self, photo: Photo) -> bytes:
        """See `servable_image`."""
        return servable_image(photo)

    def is_full(self, photos: Sequence[bytes], batch_size: int) -> bool:
        """See `PhotoCaptioner`; a request has a limit of bytes, too."""
        size = sum(map(len, photos))
        return len(photos) == batch_size or size > (
            MAX_REQUEST_BYTES - MAX_IMAGE_BYTES
        )

    def generate(
        self, photos, first, batch_size, decoding
    ) -> list[Caption | Exception]:
        """Sends a request; see `PhotoCaptioner`."""
        return [
            caption or UserError("The server cannot decode this photo.")
            for caption in parse_response(self._predict(photos), photos)
        ]

    def close(self) -> None:
        """Closes the connection."""
        self._predictor.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def _predict(self, batch: list[bytes]):
        """Sends a request, and again where it may help and time is left."""
        end = time.monotonic() + self.timeout
        wait, retries = _MIN_WAIT, self.retries
        while True:
            try:
                seconds = max(end - time.monotonic(), 0.001)
                return self._predictor.predict(batch, seconds)
            except Unavailable as error:
                # Clients that failed together should not return together.
                pause = wait * random.uniform(0.5, 1)
                if not retries or time.monotonic() + pause > end:
                    raise self._endpoint.unreachable(error) from error
            time.sleep(pause)
            wait, retries = min(2 * wait, _MAX_WAIT), retries - 1
