"""The files of a run that commands read, and the check that they are its own.

`SHA256SUMS` lists them, see `pipelines.checksums`.
"""

import glob
import os

from pipelines.checksums import check, list_command
from pipelines.errors import UserError

# What is listed of a run; scores, captions and pictures are only written.
_PATTERNS = (
    "config.json",
    "vocabulary.txt",
    "encoder.json",
    "versions.json",
    "history.json",
    "*.keras",
    "epochs/*.keras",
    "similar_photos.*",
)


def files_of_run(workdir: str) -> list[str]:
    """Returns the names of the files of a run that are there."""
    root = glob.escape(os.fspath(workdir))
    return [
        os.path.relpath(path, workdir)
        for pattern in _PATTERNS
        for path in sorted(glob.glob(os.path.join(root, pattern)))
    ]


def check_run(workdir: str, *names: str) -> None:
    """Checks that files of a run are those that it wrote.

    Raises:
        UserError: One is missing, was changed, or is of another run; the
            message names it, and the command that mends it.
    """
    for name in names:
        path = os.path.join(workdir, name)
        if not os.path.isfile(path):
            raise UserError(
                f"Expected the file {path}, which train writes. Received: "
                "none. Put it back, or let the training go on: python -m "
                f"show_attend_tell.train --workdir={workdir}, with its flags"
            )
    mend = (
        "Put the file of that run back; or, where all are right as they are, "
        f"list them: {list_command(workdir, files_of_run(workdir))}"
    )
    check(workdir, names, mend)
