"""Captions photos through TensorFlow Serving.

    python -m show_attend_tell.client --target=HOST:PORT PHOTO...

sends photos to a TensorFlow Serving with a model that `export` wrote, by gRPC
or, with --protocol=rest, by REST (on another port), and prints a line for each
photo. --attention=FILE.png renders the attention of each word. Photos that the
server does not decode are converted first.
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

_CLIENT_FLAGS = (
    flags.DEFINE_string(
        "target", None, "HOST:PORT of the server", required=True
    ),
    flags.DEFINE_enum("protocol", "grpc", sorted(PROTOCOLS), "of requests"),
    flags.DEFINE_string(
        "model", "scenes", "the name by which the server knows the captioner"
    ),
    flags.DEFINE_integer(
        "version",
        None,
        "version of the captioner; by default the one that the server prefers",
        lower_bound=0,
        upper_bound=2**63 - 1,
    ),
    flags.DEFINE_string(
        "signature", "serving_default", "or n_best, for the next best, too"
    ),
    flags.DEFINE_integer("batch_size", 8, "photos in a request", lower_bound=1),
    flags.DEFINE_float(
        "timeout", 60.0, "seconds that a request may take", lower_bound=0.001
    ),
    flags.DEFINE_integer(
        "retries",
        4,
        "how often a request to an absent or busy server is sent again",
        lower_bound=0,
    ),
)
_ATTENTION = flags.DEFINE_string(
    "attention", None, "render the attention of each word to this .png"
)

_MAX_FIGURES = 100  # More of them in one sheet take too much memory.


def main(arguments: Sequence[str]) -> None:
    """Captions every photo that can be read, and names the others."""
    if not arguments:
        raise UserError("Expected photos. Received: none")
    _check_attention(len(arguments))
    sent, captioned, figures = [], 0, []
    settings = {flag.name: flag.value for flag in _CLIENT_FLAGS}
    with ServingClient(**settings) as client:
        captions = client.stream(_images(arguments, sent))
        for number, caption in enumerate(captions):
            path = sent[number]
            if caption is None:
                _print_error(f"the server cannot decode {path}")
                continue
            captioned += 1
            print(caption.format(path), flush=True)
            if _ATTENTION.value and caption.words:
                figures.append(caption.draw())
    if figures:
        save_picture(contact_sheet(figures), _ATTENTION.value)
    failed = len(arguments) - captioned
    if failed:
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
    if photos > _MAX_FIGURES:
        raise UserError(
            f"Expected at most {_MAX_FIGURES} photos with --attention. "
            f"Received: {photos}"
        )


def _images(paths: Sequence[str], sent: list[str]) -> Iterator[bytes]:
    """Yields the photos that can be read, and appends their paths to `sent`."""
    for path in paths:
        try:
            image = servable_image(path)
        except UserError as error:
            _print_error(error)
        else:
            sent.append(path)
            yield image


def _print_error(error) -> None:
    print(f"error: {error}", file=sys.stderr)


if __name__ == "__main__":
    run(main)
