"""An exported captioner says captions as was chosen at export."""

import dataclasses
from collections.abc import Sequence

from pipelines.errors import UserError
from show_attend_tell.configs.decoding import Decoding


def refuse_consensus(decoding: Decoding) -> None:
    """Checks that captions are said without photos to compare with.

    Raises:
        UserError: They are not.
    """
    if decoding.consensus:
        raise UserError(
            "An export has no photos of training to compare with. Expected "
            f"--consensus=0. Received: consensus={decoding.consensus}"
        )


def keep_decoding(
    decoding: Decoding, changes: dict, free: Sequence[str] = ()
) -> Decoding:
    """Checks that no setting would change that is fixed.

    Args:
        decoding: The settings of the export.
        changes: Those that are asked for now.
        free: Names of settings that may change.

    Returns:
        The settings with the changes.

    Raises:
        UserError: A setting would change, is out of range or unknown.
    """
    asked = decoding.replace(**changes)
    own, wanted = dataclasses.asdict(decoding), dataclasses.asdict(asked)
    others = [n for n in own if own[n] != wanted[n] and n not in free]
    if others:
        raise UserError(
            "How captions are said was chosen at export: "
            + ", ".join(f"{name}={own[name]}" for name in others)
            + ". Received: "
            + ", ".join(f"{name}={wanted[name]}" for name in others)
            + ". Export again with these flags, or use --workdir=RUN."
        )
    return asked
