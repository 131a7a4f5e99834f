"""Options: dataclass fields with a help text and a range, checked alike."""

import dataclasses
import typing

from pipelines.errors import UserError


def option(
    default,
    help: str,
    allowed: str | tuple[str, ...] = "[0, inf)",
    *,
    flag: str | None = None,
    **metadata,
):
    """Returns a dataclass field that `check_options` and flags understand.

    `allowed` is the range of a number, as in mathematics: `"(0, 1]"`; or the
    values of a string, where not every one is allowed. `flag` is the name of
    its flag, where that is not the field's.
    """
    metadata |= {"help": help, "allowed": allowed, "flag": flag}
    return dataclasses.field(default=default, metadata=metadata)


def choices_of(field: dataclasses.Field) -> tuple[str, ...]:
    """Returns the values of an option; empty where it is not one of a few."""
    allowed = field.metadata["allowed"]
    return allowed if isinstance(allowed, tuple) else ()


def flag_name(field: dataclasses.Field) -> str:
    """Returns the name of an option's flag."""
    return field.metadata["flag"] or field.name


def value_type(field: dataclasses.Field) -> type:
    """Returns the type of an option's value, less `None`."""
    return next(iter(typing.get_args(field.type)), field.type)


def replace_options(config, options: dict[str, object]):
    """Returns a dataclass with the options replaced that flags give."""
    fields = dataclasses.fields(config)
    given = [field for field in fields if flag_name(field) in options]
    values = {field.name: options[flag_name(field)] for field in given}
    return dataclasses.replace(config, **values)


def check_options(config) -> None:
    """Checks every option of a dataclass by its type, choices and range."""
    for field in dataclasses.fields(config):
        value = getattr(config, field.name)
        expected = _mistake(field, value)
        if expected:
            flag = flag_name(field)
            raise UserError(
                f"Expected --{flag} to {expected}. Received: {flag}={value!r}"
            )


def _mistake(field: dataclasses.Field, value) -> str:
    """Returns what was expected in place of a value; empty if it is right."""
    kind, choices = value_type(field), choices_of(field)
    if value is None and kind is not field.type:
        return ""
    accepted = (int, float) if kind is float else kind
    is_bool = type(value) is bool  # To Python it is an int, too.
    if not isinstance(value, accepted) or is_bool != (kind is bool):
        return f"be of type {kind.__name__}"
    if choices and value not in choices:
        return f"be one of {', '.join(choices)}"
    if kind is str and "\0" in value:
        return "have no zero byte"
    if kind in (int, float) and not _lies_in(value, field.metadata["allowed"]):
        return f"lie in {field.metadata['allowed']}"
    if kind in (int, float) and value >= 2**31:
        return "be below 2**31"
    return ""


def _lies_in(value: float, interval: str) -> bool:
    low, high = (float(bound) for bound in interval[1:-1].split(","))
    above = low <= value if interval[0] == "[" else low < value
    return above and (value <= high if interval[-1] == "]" else value < high)
