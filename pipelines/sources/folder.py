"""A folder of images with a file of names and captions, of whichever form."""

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.caption_files import add_captions
from pipelines.sources.gathering import Gathering
from pipelines.sources.image_folder import (
    ImageFolder,
    check_data_dir,
    first_existing,
)

_DEFAULT_FILES = (
    *("captions.csv", "captions.jsonl", "captions.json", "captions.tsv"),
    *("metadata.csv", "metadata.jsonl"),  # of Hugging Face
)


def load_folder(data_dir: str | None, captions: str | None = None) -> Source:
    """Loads a folder of images, in the order of their first captions.

    `captions` is a file of any form of `pipelines.sources.caption_files`; by
    default `captions.csv`, `captions.jsonl`, `captions.json`, `captions.tsv`,
    `metadata.csv` or `metadata.jsonl` in `data_dir`.
    """
    check_data_dir(data_dir, "images")
    captions = captions or first_existing(data_dir, *_DEFAULT_FILES)
    if captions is None:
        raise UserError(
            f"Expected {', '.join(_DEFAULT_FILES[:-1])} or "
            f"{_DEFAULT_FILES[-1]} in the data folder; give a file of names "
            "and captions with --captions=FILE. Received: "
            f"data_dir={data_dir!r}"
        )
    hint = (
        "Give the folder of the images with --data_dir. Received: "
        f"data_dir={data_dir!r}, captions={captions!r}"
    )
    gathering = Gathering("folder", hint, captions)
    gathering.hashes_splits = True
    add_captions(gathering, captions, ImageFolder(data_dir))
    return gathering.source()
