"""The folder of a run: what may begin in it, and what goes on.

A run keeps its configuration from its first checkpoint on. Until then nothing
was trained, and other settings may take its place.
"""

import os
import platform

import keras
import numpy as np
import tensorflow as tf

from pipelines import checksums
from pipelines.errors import UserError
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.configs.run_files import check_run, files_of_run
from show_attend_tell.evaluation.score_files import SCORES_FILE
from show_attend_tell.training.checkpoints import is_begun

VERSIONS_FILE = "versions.json"

_PICTURES = "pictures"


def check_workdir(workdir: str, config: RunConfig) -> None:
    """Checks that a run may begin in a folder, or go on in it.

    Raises:
        UserError: A file there is not what the run has written, or is
            somebody else's; or the run there has other settings.
    """
    files = files_of_run(workdir)
    if not is_begun(workdir) and not _is_of_a_run(workdir):
        written = (*files, checksums.FILE_NAME, SCORES_FILE, _PICTURES)
        for name in written:
            if os.path.lexists(os.path.join(workdir, name)):
                raise UserError(
                    "Expected --workdir to be a new folder, or that of a run. "
                    f"Received: {workdir!r}, whose {name} is not of a run and "
                    "stays as it is. Choose another --workdir"
                )
        return
    check_run(workdir, *files)
    if is_begun(workdir):
        changed = RunConfig.load(workdir).differences(config)
        if changed:
            raise UserError(
                f"{workdir} holds a run with other settings: "
                f"{', '.join(changed.values())}. Give the same flags to go "
                "on with it, or another --workdir."
            )


def claim(workdir: str, config: RunConfig) -> None:
    """Writes the configuration of a run that has no model yet."""
    if is_begun(workdir):
        return
    config.save(workdir)
    versions = {
        "python": platform.python_version(),
        "tensorflow": tf.__version__,
        "keras": keras.__version__,
        "numpy": np.__version__,
        "machine": platform.machine(),
        "system": platform.system(),
        "cores": str(os.cpu_count()),
    }
    checksums.write_json(workdir, VERSIONS_FILE, versions)


def _is_of_a_run(workdir: str) -> bool:
    """Whether the list of digests in a folder, if there is one, is a run's."""
    if not os.path.lexists(os.path.join(workdir, checksums.FILE_NAME)):
        return False
    listed = checksums.read(workdir, "Choose another --workdir.")
    return "vocabulary.txt" in listed
