"""Decoding settings that were fixed when a captioner was exported."""

import dataclasses
from collections.abc import Sequence

from pipelines.errors import UserError
from show_attend_tell.configs.decoding import Decoding


def refuse_consensus(decoding: Decoding) -> None:
    """Raises UserError if captions would be reranked by similar photos."""
    if decoding.consensus:
        raise UserError(
            "An export has no photos of training to compare with. Expected "
            f"--consensus=0. Received: consensus={decoding.consensus}"
        )


def keep_decoding(
    decoding: Decoding, changes: dict, free: Sequence[str] = ()
) -> Decoding:
    """Returns the settings with the changes, if only `free` ones change.

    Raises:
        UserError: Another setting would change, or one is out of range or
            unknown.
    """
    asked = decoding.replace(**changes)
    fixed, received = dataclasses.asdict(decoding), dataclasses.asdict(asked)
    differing = [
        name
        for name in fixed
        if fixed[name] != received[name] and name not in free
    ]
    if differing:
        raise UserError(
            "The decoding was chosen at export: "
            + ", ".join(f"{name}={fixed[name]}" for name in differing)
            + ". Received: "
            + ", ".join(f"{name}={received[name]}" for name in differing)
            + ". Export again with these flags, or use --workdir=RUN."
        )
    return asked
