"""The scores of a run's epochs, which `history.json` in its workdir keeps."""

import os

from pipelines.errors import UserError
from pipelines.files import read_json
from show_attend_tell.configs.run_files import check_run

HISTORY_FILE = "history.json"


def read_history(workdir: str, measure: str) -> list[dict[str, float | None]]:
    """Reads the scores of each epoch; none where none has been scored.

    Args:
        workdir: The folder of the run.
        measure: A score that every epoch must have.

    Returns:
        A dictionary for each epoch, in order: `"epoch"`, and scores by name;
        `None` is an undefined one.

    Raises:
        UserError: The file is not the one that the run wrote, or no history.
    """
    path = os.path.join(workdir, HISTORY_FILE)
    if not os.path.exists(path):
        return []
    check_run(workdir, HISTORY_FILE)
    history = read_json(path)
    is_one = isinstance(history, list) and all(
        _is_entry(entry) and measure in entry for entry in history
    )
    epochs = [entry["epoch"] for entry in history] if is_one else []
    if not is_one or epochs != sorted(set(epochs)):
        raise UserError(
            f"Expected a list of scores, of epoch after epoch, in {path}. "
            f"Received: {str(history)[:100]}. Put that run's file back"
        )
    return history


def _is_entry(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and type(entry.get("epoch")) is int
        and 0 <= entry["epoch"] < 2**31
        and all(type(v) in (int, float, type(None)) for v in entry.values())
    )
