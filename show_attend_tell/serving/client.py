"""A client of TensorFlow Serving that captions photos."""

import random
import re
import time
from collections.abc import Iterable, Iterator

from pipelines.errors import UserError
from pipelines.images.decoding import Photo
from show_attend_tell.inference.caption import Caption
from show_attend_tell.serving.answers import captions_of
from show_attend_tell.serving.failures import Unavailable, unreachable
from show_attend_tell.serving.photos import servable_image
from show_attend_tell.serving.rest import RestPredictor
from show_attend_tell.serving.rpc import RpcPredictor

PROTOCOLS = {"grpc": RpcPredictor, "rest": RestPredictor}

MAX_REQUEST_BYTES = 64 * 2**20  # Of the images of a batch.
MAX_RESPONSE_BYTES = 64 * 2**20

_FIRST_WAIT, _LONGEST_WAIT = 0.5, 8.0  # seconds


class ServingClient:
    """Asks a server for captions.

        with ServingClient("localhost:8501", "rest", "scenes") as client:
            caption = client.caption("photo.jpg")
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
        timeout: Seconds that a request may take, tries again included.
        retries: How often a request is sent again to a server that is not
            there or does not take requests now, after 0.5, 1, 2, ... seconds.
            Nothing else is tried again.

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
        matched = re.fullmatch(r"([\w.-]+|\[[\da-fA-F:.]+\]):(\d{1,5})", target)
        if not matched:
            raise UserError(
                "Expected a target such as localhost:8500 or [::1]:8500. "
                f"Received: {target!r}"
            )
        self.target, self.batch_size = target, batch_size
        self.timeout, self.retries = timeout, retries
        self._predictor = PROTOCOLS[protocol](
            matched[1],
            int(matched[2]),
            model,
            version,
            signature,
            MAX_RESPONSE_BYTES,
        )

    def caption(self, photo: Photo) -> Caption:
        """Captions a photo.

        Args:
            photo: A path, the bytes of a file, a Pillow image, or a uint8
                array `(H, W, 3)`.

        Returns:
            The caption.

        Raises:
            UserError: The photo cannot be read, or the server does not answer
                as it should.
        """
        (caption,) = self.stream([servable_image(photo)])
        if caption is None:
            raise UserError("The server cannot decode this photo.")
        return caption

    def stream(self, images: Iterable[bytes]) -> Iterator[Caption | None]:
        """Captions images one batch after the other, without end.

        Args:
            images: What `photos.servable_image` gave of each; taken when
                their turn comes.

        Yields:
            Captions, in order; `None` for an image that the server cannot
            decode.

        Raises:
            UserError: The server does not answer as it should.
        """
        for batch in self._batches(images):
            yield from captions_of(self._answer(batch), batch)

    def _batches(self, images: Iterable[bytes]) -> Iterator[list[bytes]]:
        batch, size = [], 0
        for image in images:
            size += len(image)
            if batch and size > MAX_REQUEST_BYTES:
                yield batch
                batch, size = [], len(image)
            batch.append(image)
            if len(batch) == self.batch_size:
                yield batch
                batch, size = [], 0
        if batch:
            yield batch

    def _answer(self, batch: list[bytes]):
        """Sends a request, again where it may help and while there is time."""
        end = time.monotonic() + self.timeout
        wait, left = _FIRST_WAIT, self.retries
        while True:
            try:
                seconds = max(end - time.monotonic(), 0.001)
                return self._predictor.predict(batch, seconds)
            except Unavailable as error:
                # Clients that failed together should not return together.
                pause = wait * random.uniform(0.5, 1)
                if not left or time.monotonic() + pause > end:
                    port = self._predictor.port
                    raise unreachable(self.target, port, error) from error
            time.sleep(pause)
            wait, left = min(2 * wait, _LONGEST_WAIT), left - 1

    def close(self) -> None:
        """Ends the connection."""
        self._predictor.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
