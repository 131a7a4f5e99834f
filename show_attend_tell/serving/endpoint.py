"""The address of a served model, and the errors of requests to it."""

import dataclasses

from pipelines.errors import UserError
from pipelines.printing import printable
from show_attend_tell.inference.caption import CaptionerError

_MAX_REASON = 300  # characters of a server's message


class Unavailable(Exception):
    """The server is not there, or takes no requests now; a retry may help."""


@dataclasses.dataclass(frozen=True)
class Endpoint:
    """A signature of a model on a server.

    `version=None` is the version that the server prefers; `max_bytes` is the
    size of the largest response that is read.
    """

    host: str
    port: int
    port_name: str  # Of the protocol, with its default.
    model: str
    version: int | None
    signature: str
    max_bytes: int

    @property
    def target(self) -> str:
        """HOST:PORT."""
        return f"{self.host}:{self.port}"

    def unreachable(self, reason) -> CaptionerError:
        """Returns the error of a server that does not use the protocol."""
        return CaptionerError(
            f"Expected a server that answers at {self.target}, its "
            f"{self.port_name} by default. Received: {_shortened(reason)}. "
            "Start it, or say where it is with --target=HOST:PORT"
        )

    def timed_out(self, seconds: float) -> CaptionerError:
        """Returns the error of a response that did not come in time."""
        return CaptionerError(
            f"{self.target} did not answer within {seconds:.3g} seconds. Give "
            "it longer with --timeout, or less with --batch_size"
        )

    def refused(self, reason) -> UserError:
        """Returns the error of a request that the server rejects.

        It may concern one of the photos, unless the reason is one of those
        that all requests meet.
        """
        reason = _shortened(reason)
        hint = ""
        if "ervable" in reason:
            hint = ". Say which model with --model=NAME and --version=NUMBER"
        elif "ignature" in reason:
            hint = ". Say which signature with --signature=NAME"
        elif "larger than" in reason:
            hint = ". Give less with --batch_size"
        kind = CaptionerError if hint else UserError
        return kind(f"{self.target} refused the request: {reason}{hint}")

    def too_large(self) -> CaptionerError:
        """Returns the error of a response above `max_bytes`."""
        return CaptionerError(
            f"Expected a response of at most {self.max_bytes} bytes from "
            f"{self.target}. Received: a larger one. Give less with "
            "--batch_size"
        )


def _shortened(reason) -> str:
    return printable(str(reason)[:_MAX_REASON]).strip(" .")
