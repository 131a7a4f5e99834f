"""How a command runs: flags parsed, a user's mistake told in a line."""

import sys
from collections.abc import Callable, Sequence

from absl import app

from pipelines.errors import UserError


def run(main: Callable[[Sequence[str]], None]) -> None:
    """Parses flags and runs a command.

    A `UserError` is printed without a traceback and exits with 1; an
    interrupt exits with 130.

    Args:
        main: The command, called with the arguments that are no flags.
    """

    def guarded(arguments):
        try:
            main(arguments[1:])
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            sys.exit(1)
        except KeyboardInterrupt:
            print("\nstopped; the same command goes on", file=sys.stderr)
            sys.exit(130)

    app.run(guarded)


def no_arguments(arguments: Sequence[str]) -> None:
    """Checks that a command got flags alone.

    Raises:
        UserError: It got something else.
    """
    if arguments:
        raise UserError(
            f"Expected flags, which begin with --. Received: {arguments[0]!r}"
        )
