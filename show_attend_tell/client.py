"""Captions photos through TensorFlow Serving.

    python -m show_attend_tell.client --target=HOST:PORT PHOTO...

sends photos, or folders of them, to a TensorFlow Serving with a model that
`export` wrote, by gRPC or, with --protocol=rest, by REST (on another port), and
prints a line for each photo. --attention=FILE.png renders the attention of each
word. Photos that the server does not decode are converted first.
"""

import sys
from collections.abc import Sequence

from absl import flags
from PIL import Image

from pipelines.commands import run
from pipelines.ending import report, report_error
from pipelines.errors import UserError
from pipelines.images.given_photos import given_photos
from pipelines.outputs import PICTURE_MARK, check_output_file
from show_attend_tell.inference.attention_figure import (
    contact_sheet,
    save_picture,
)
from show_attend_tell.inference.caption import Caption
from show_attend_tell.serving.client import PROTOCOLS, ServingClient

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
    photos, failed = given_photos(arguments)
    count = len(photos) + failed
    paths = [photo.path for photo in photos]
    _check_attention(paths)
    figures = []
    settings = {flag.name: flag.value for flag in _CLIENT_FLAGS}
    try:
        with ServingClient(**settings) as client:
            outcomes = client.captions_or_errors(paths)
            for path, outcome in zip(paths, outcomes, strict=True):
                failed += not _deliver(path, outcome, figures)
    finally:  # Also where a signal or the server stops it.
        if figures:
            save_picture(contact_sheet(figures), _ATTENTION.value)
            report(f"{len(figures)} figures of attention: {_ATTENTION.value}")
    if failed:
        pictured = " or not drawn" if _ATTENTION.value else ""
        report(f"{failed} of {count} not captioned{pictured}")
        sys.exit(1)


def _deliver(
    path: str, outcome: Caption | Exception, figures: list[Image.Image]
) -> bool:
    """Prints a caption and draws its figure; returns whether all went."""
    if isinstance(outcome, Exception):
        report_error(outcome, path)
        return False
    print(outcome.format(path), flush=True)
    if _ATTENTION.value and outcome.words:
        try:
            figures.append(outcome.draw())
        except Exception as error:  # One photo's; the others go on.
            report_error(error, path)
            return False
    return True


def _check_attention(photos: Sequence[str]) -> None:
    if not _ATTENTION.value:
        return
    if not _ATTENTION.value.lower().endswith(".png"):
        raise UserError(
            "Expected --attention to end in .png. "
            f"Received: {_ATTENTION.value!r}"
        )
    if len(photos) > _MAX_FIGURES:
        raise UserError(
            f"Expected at most {_MAX_FIGURES} photos with --attention. "
            f"Received: {len(photos)}"
        )
    check_output_file(_ATTENTION.value, "--attention", PICTURE_MARK, photos)


if __name__ == "__main__":
    run(main)
