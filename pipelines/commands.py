"""Runs commands, and defines their flags from options."""

import dataclasses
import sys
import warnings
from collections.abc import Callable, Iterable, Sequence

from absl import app, flags

from pipelines.ending import exit_code_of
from pipelines.errors import UserError
from pipelines.options import choices_of, flag_name, value_type

# Flags for which an empty text is a value.
_MAY_BE_EMPTY = set()

flags.disclaim_key_flags()  # Its flags are those of the command that calls.

_DEFINE = {
    bool: flags.DEFINE_bool,
    int: flags.DEFINE_integer,
    float: flags.DEFINE_float,
    str: flags.DEFINE_string,
}


def run(main: Callable[[Sequence[str]], None], resumable: bool = False) -> None:
    """Parses flags, runs a command with the other arguments, and exits.

    For exit codes see `pipelines.ending`.

    Args:
        main: The command.
        resumable: Whether the same command goes on where a signal stopped it.
    """

    def command() -> None:
        # Of images that are read all the same.
        warnings.filterwarnings("ignore", module=r"PIL\.")
        app.run(lambda arguments: _start(main, arguments[1:]))

    sys.exit(exit_code_of(command, resumable))


def _start(main, arguments: Sequence[str]) -> None:
    """Runs a command, unless a flag that needs a value has an empty one.

    That is mostly a variable of the shell that is not set.
    """
    for name in flags.FLAGS:
        flag = flags.FLAGS[name]
        if flag.present and flag.value == "" and name not in _MAY_BE_EMPTY:
            raise UserError(
                f"Expected a value of --{name}. Received: an empty one"
            )
    main(arguments)


def no_arguments(arguments: Sequence[str]) -> None:
    """Checks that a command got flags alone."""
    if arguments:
        raise UserError(
            f"Expected flags, which begin with --. Received: {arguments[0]!r}"
        )


def define_flags(
    options: Iterable[dataclasses.Field],
) -> Callable[[], dict[str, object]]:
    """Defines a flag for each option, see `pipelines.options`.

    Returns a function that returns the options that were given, by flag.
    """
    holders = {}
    for field in options:
        name, help = flag_name(field), field.metadata["help"]
        if field.default == "":
            _MAY_BE_EMPTY.add(name)
        choices = choices_of(field)
        if choices:
            holder = flags.DEFINE_enum(name, None, choices, help)
        else:
            holder = _DEFINE[value_type(field)](name, None, help)
        holders[name] = holder
    return lambda: {n: h.value for n, h in holders.items() if h.present}
