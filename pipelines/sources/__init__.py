"""Where captioned images come from: one interface, one name to choose."""

import os
from typing import Any

from pipelines.captions import Source
from pipelines.errors import UserError

SOURCES = (
    "scenes",
    "flickr8k",
    "flickr30k",
    "karpathy",
    "coco",
    "coco_captions",
    "folder",
)


def load_source(
    dataset: str,
    data_dir: str | None = None,
    captions: str | None = None,
    **options: Any,
) -> Source:
    """Loads the captioned images that a name chooses.

    Missing and doubtful images are left out and named in `Source.skipped`;
    `pipelines.captions.summarize_skipped` tells them in a few lines.

    Args:
        dataset: One of `SOURCES`.
        data_dir: The folder of the data; not for `"scenes"`.
        captions: The file of the captions, where a source takes one: needed
            for `"karpathy"`, not taken by `"scenes"` and `"coco_captions"`.
        **options: What one source takes besides: `split` and `year` for
            `"coco"`; `train`, `validation`, `test`, `novel` and `seed` for
            `"scenes"`.

    Returns:
        The images of all splits, in an order that stays.

    Raises:
        UserError: The name is unknown, a file is missing, or more than a
            small share of what the lists name is missing or doubtful.
    """
    if dataset in ("scenes", "coco_captions") and captions is not None:
        raise UserError(
            f"Expected no --captions for {dataset}, which brings its own. "
            f"Received: captions={captions!r}"
        )
    # A shell leaves the ~ of --data_dir=~/photos as it is.
    data_dir = data_dir and os.path.expanduser(data_dir)
    captions = captions and os.path.expanduser(captions)
    match dataset:
        case "scenes":
            from pipelines.sources.scenes import load_scenes

            return load_scenes(**options)
        case "flickr8k":
            from pipelines.sources.flickr import load_flickr8k

            return load_flickr8k(data_dir, captions, **options)
        case "flickr30k":
            from pipelines.sources.flickr import load_flickr30k

            return load_flickr30k(data_dir, captions, **options)
        case "karpathy":
            from pipelines.sources.karpathy import load_karpathy

            return load_karpathy(data_dir, captions, **options)
        case "coco":
            from pipelines.sources.coco import load_coco

            return load_coco(data_dir, captions, **options)
        case "coco_captions":
            from pipelines.sources.coco_captions import load_coco_captions

            return load_coco_captions(data_dir, **options)
        case "folder":
            from pipelines.sources.folder import load_folder

            return load_folder(data_dir, captions, **options)
    raise UserError(
        f"Expected --dataset to be one of {', '.join(SOURCES)}. "
        f"Received: {dataset!r}"
    )
