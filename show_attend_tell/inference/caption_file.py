"""A file of captions: CSV with every caption, or JSON in COCO's form."""

import csv
import io
import json
import os

import numpy as np

from pipelines.errors import UserError
from pipelines.images.given_photos import GivenPhoto
from pipelines.outputs import check_output_file, is_stream, write_output
from pipelines.printing import csv_cell, printable
from pipelines.words import words_of
from show_attend_tell.inference.attention_json import attention_from_json
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.caption_phrases import phrases_as_json
from show_attend_tell.metrics.prediction_files import (
    read_field,
    read_predictions,
)

_COLUMNS = ("file", "rank", "caption", "log_probability", "score")
# How the files begin, in this very layout, which is nobody else's.
CSV_MARK = ",".join(_COLUMNS).encode() + rb"\r\n"
_JSON_MARK = (
    rb'\[\n  \{\n    "image_id": [^\n]+,\n    "caption": "[^\n]*",\n'
    rb'    "phrases": \['
)


class CaptionFile:
    """Collects captions of photos, and writes them all at once.

    Args:
        path: The file, whose name ends in `.csv` or `.json`; anything else is
            CSV for a pipe or a device.
        flag: Which chooses another, for messages.

    Raises:
        UserError: The file cannot be written, or another one is there.
    """

    def __init__(self, path: str, flag: str = "--output"):
        self.path = path
        self.captions: list[tuple[GivenPhoto, Caption]] = []
        name = path.lower()
        self._is_json = name.endswith(".json")
        if not (name.endswith((".csv", ".json")) or is_stream(path)):
            raise UserError(
                f"Expected {flag} to end in .csv or .json. Received: {path!r}"
            )
        mark = _JSON_MARK if self._is_json else CSV_MARK
        check_output_file(path, flag, mark)

    def write(self) -> None:
        """Writes what there is, complete or not at all; nothing stays as it is.

        So a run without a single caption empties no earlier file.
        """
        if not self.captions and os.path.exists(self.path):
            return
        text = self._json() if self._is_json else self._csv()
        write_output(self.path, text.encode())

    def _json(self) -> str:
        """The best caption of each photo; of one that came twice, the last."""
        best = {photo.id: caption for photo, caption in self.captions}
        entries = [
            {
                "image_id": id,
                "caption": printable(caption.text),
                "phrases": phrases_as_json(caption.phrases),
            }
            for id, caption in best.items()
        ]
        return json.dumps(entries, indent=2, ensure_ascii=False) + "\n"

    def _csv(self) -> str:
        file = io.StringIO()
        writer = csv.writer(file)
        writer.writerow(_COLUMNS)
        for photo, caption in self.captions:
            ranked = (caption, *caption.alternatives)
            for rank, one in enumerate(ranked, 1):
                text = csv_cell(printable(one.text))
                numbers = f"{one.log_probability:.6f}", f"{one.score:.6f}"
                name = csv_cell(printable(photo.path))
                writer.writerow((name, rank, text, *numbers))
        return file.getvalue()


def read_captions(path: str) -> dict[str, Caption | None]:
    """Reads captions with their attention; None of those that have none.

    Raises:
        UserError: The file cannot be used.
    """
    attentions, captions = read_field(path, "attention"), {}
    for id, text in read_predictions(path).items():
        captions[str(id)] = None
        if attentions[id] is None:
            continue
        words = tuple(words_of(text))
        attention, resize_mode = attention_from_json(
            attentions[id], len(words), f"{path} (image_id {id!r})"
        )
        captions[str(id)] = Caption(
            words=words,
            log_probability=float("nan"),
            score=float("nan"),
            finished=True,
            attention=attention,
            gate=np.zeros(len(words), np.float32),
            resize_mode=resize_mode,
        )
    return captions
