"""A folder of images with a CSV or JSON Lines file of names and captions."""

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.caption_files import add_table
from pipelines.sources.gathering import Gathering
from pipelines.sources.image_folder import (
    ImageFolder,
    check_data_dir,
    first_existing,
)

_DEFAULT_FILES = ("captions.csv", "captions.jsonl")


def load_folder(data_dir: str | None, captions: str | None = None) -> Source:
    """Loads a folder of images, in the order of their first captions.

    `captions` is CSV or JSON Lines, see `pipelines.sources.caption_files`; by
    default `captions.csv` or `captions.jsonl` in `data_dir`.
    """
    check_data_dir(data_dir, "images")
    captions = captions or first_existing(data_dir, *_DEFAULT_FILES)
    if captions is None:
        raise UserError(
            f"Expected {' or '.join(_DEFAULT_FILES)} in the data folder; give "
            f"a file of names and captions with --captions=FILE. Received: "
            f"data_dir={data_dir!r}"
        )
    hint = (
        "Give the folder of the images with --data_dir. Received: "
        f"data_dir={data_dir!r}, captions={captions!r}"
    )
    gathering = Gathering("folder", hint)
    add_table(gathering, captions, ImageFolder(data_dir))
    return gathering.source()
