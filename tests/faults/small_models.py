"""Writes small captioners that can be attacked, of both exported kinds."""

import os
import pathlib


def write_tflite(path: pathlib.Path, **arguments) -> None:
    """Writes a captioner for devices."""
    if path.exists():
        return
    from show_attend_tell.exporting import tflite
    from tests.show_attend_tell.exporting import small

    tflite.check = lambda *_: None  # Its tests check it.
    tflite.export_tflite(small.captioner(**arguments), path)


def write_saved_model(folder: pathlib.Path, **arguments) -> None:
    """Writes version 1 of an exported model."""
    if (folder / "1").exists():
        return
    from show_attend_tell.exporting import saved_model
    from tests.show_attend_tell.exporting import small

    saved_model.check = lambda *_: None
    captioner = small.captioner(**arguments)
    saved_model.export_saved_model(
        captioner, os.fspath(folder), batch_sizes=(2, 1)
    )
