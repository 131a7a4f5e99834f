"""What may go wrong between a client and its server."""

from pipelines.errors import UserError
from show_attend_tell.serving.answers import printable

_LONGEST_REASON = 300  # characters of what a server says


class Unavailable(Exception):
    """The server is not there, or takes no requests now; later it may."""


def unreachable(target: str, port: str, reason) -> UserError:
    """Returns the error of a server that does not answer.

    Args:
        target: Where it should be.
        port: What should be listening there.
        reason: What was found instead.
    """
    return UserError(
        f"Expected a server that answers at {target}, its {port}. Received: "
        f"{shortened(reason)}. Start it, or say where it is with "
        "--target=HOST:PORT"
    )


def late(target: str, seconds: float) -> UserError:
    """Returns the error of an answer that did not come in time."""
    return UserError(
        f"{target} did not answer within {seconds:.3g} seconds. Give it "
        "longer with --timeout, or less with --batch_size"
    )


def refused(target: str, reason) -> UserError:
    """Returns the error of a server that does not want a request."""
    reason = shortened(reason)
    hint = ""
    if "ervable" in reason:
        hint = ". Say which model with --model=NAME and --version=NUMBER"
    elif "ignature" in reason:
        hint = ". Say which signature with --signature=NAME"
    elif "larger than" in reason:
        hint = ". Give less with --batch_size"
    return UserError(f"{target} refused the request: {reason}{hint}")


def too_large(target: str, limit: int) -> UserError:
    """Returns the error of an answer that nobody wants to read."""
    return UserError(
        f"Expected an answer of at most {limit} bytes from {target}. "
        "Received: a larger one. Give less with --batch_size"
    )


def shortened(reason) -> str:
    """Returns the beginning of what a server says, fit to be shown."""
    return printable(str(reason)[:_LONGEST_REASON]).strip(" .")
