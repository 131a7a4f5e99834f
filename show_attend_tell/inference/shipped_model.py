"""The captioner of photos that comes with a checkout of this project."""

import os

from pipelines.errors import UserError

FILE_NAME = os.path.join("savedmodels", "flickr8k.tflite")


def shipped_model() -> str:
    """Returns the path of the shipped captioner.

    Raises:
        UserError: It is missing, as in an installed package.
    """
    checkout = os.path.dirname(
        os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
    )
    path = os.path.join(checkout, FILE_NAME)
    if not os.path.exists(path):
        raise UserError(
            f"Expected a model: {FILE_NAME}, which a checkout of the project "
            f"has, is not there. Received: {path!r}. Name another: "
            "--workdir=RUN or --model=VERSION_OR_FILE"
        )
    return path
