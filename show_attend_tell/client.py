"""Captions photos by a server.

    python -m show_attend_tell.client --target=HOST:PORT PHOTO...

asks a TensorFlow Serving that serves what `export` wrote, by gRPC or, with
--protocol=rest, by REST (its port is another), and prints a line for each
photo. --attention=FILE.png draws where the model looked for each word.
Photos that the server does not take are turned upright or put into another
form first.
"""

import sys
from collections.abc import Iterator, Sequence

from absl import flags

from pipelines.commands import run
from pipelines.errors import UserError
from show_attend_tell.inference.attention_figure import (
    contact_sheet,
    save_picture,
)
from show_attend_tell.serving.client import PROTOCOLS, ServingClient
from show_attend_tell.serving.photos import servable_image

_TARGET = flags.DEFINE_string(
    "target", None, "HOST:PORT of the server", required=True
)
_PROTOCOL = flags.DEFINE_enum(
    "protocol", "grpc", sorted(PROTOCOLS), "how to speak to it"
)
_MODEL = flags.DEFINE_string(
    "model", "scenes", "the name by which it knows the captioner"
)
_VERSION = flags.DEFINE_integer(
    "version",
    None,
    "version of the captioner; by default the one that the server prefers",
    lower_bound=0,
    upper_bound=2**63 - 1,
)
_SIGNATURE = flags.DEFINE_string(
    "signature", "serving_default", "or n_best, for the next best captions too"
)
_BATCH = flags.DEFINE_integer(
    "batch_size", 8, "photos in a request", lower_bound=1
)
_TIMEOUT = flags.DEFINE_float(
    "timeout", 60.0, "seconds that a request may take", lower_bound=0.001
)
_RETRIES = flags.DEFINE_integer(
    "retries",
    4,
    "how often to ask again a server that is not there or is too busy",
    lower_bound=0,
)
_ATTENTION = flags.DEFINE_string(
    "attention", None, "draw where the model looked into this .png"
)

_MOST_PICTURES = 100  # That a sheet has; more take too much memory.


def main(arguments: Sequence[str]) -> None:
    """Captions every photo that can be read, and names the others."""
    if not arguments:
        raise UserError("Expected photos. Received: none")
    _check_attention(len(arguments))
    sent, captions, pictures = [], 0, []
    with ServingClient(
        _TARGET.value,
        _PROTOCOL.value,
        _MODEL.value,
        _VERSION.value,
        _SIGNATURE.value,
        _BATCH.value,
        _TIMEOUT.value,
        _RETRIES.value,
    ) as client:
        answers = client.stream(_images(arguments, sent))
        for number, caption in enumerate(answers):
            path = sent[number]
            if caption is None:
                error = f"error: the server cannot decode {path}"
                print(error, file=sys.stderr)
                continue
            captions += 1
            print(caption.told(path), flush=True)
            if _ATTENTION.value and caption.words:
                pictures.append(caption.draw())
    if pictures:
        save_picture(contact_sheet(pictures), _ATTENTION.value)
    if captions < len(arguments):
        failed = len(arguments) - captions
        print(f"{failed} of {len(arguments)} not captioned", file=sys.stderr)
        sys.exit(1)


def _check_attention(photos: int) -> None:
    if not _ATTENTION.value:
        return
    if not _ATTENTION.value.lower().endswith(".png"):
        raise UserError(
            "Expected --attention to end in .png. "
            f"Received: {_ATTENTION.value!r}"
        )
    if photos > _MOST_PICTURES:
        raise UserError(
            f"Expected at most {_MOST_PICTURES} photos with --attention. "
            f"Received: {photos}"
        )


def _images(paths: Sequence[str], sent: list[str]) -> Iterator[bytes]:
    """Yields what can be read, and notes its path; names the others."""
    for path in paths:
        try:
            image = servable_image(path)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
        else:
            sent.append(path)
            yield image


if __name__ == "__main__":
    run(main)
