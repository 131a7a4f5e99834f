"""Where captioned images come from: one interface, one name to choose."""

import os
from typing import Any

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.coco import load_coco
from pipelines.sources.coco_captions import load_coco_captions
from pipelines.sources.flickr import load_flickr8k, load_flickr30k
from pipelines.sources.folder import load_folder
from pipelines.sources.karpathy import load_karpathy
from pipelines.sources.scenes import load_scenes

_LOADERS = {
    "scenes": load_scenes,
    "flickr8k": load_flickr8k,
    "flickr30k": load_flickr30k,
    "karpathy": load_karpathy,
    "coco": load_coco,
    "coco_captions": load_coco_captions,
    "folder": load_folder,
}
SOURCES = tuple(_LOADERS)


def load_source(
    dataset: str,
    data_dir: str | None = None,
    captions: str | None = None,
    **options: Any,
) -> Source:
    """Loads the captioned images of a data set.

    Missing and doubtful images are left out and named in `Source.skipped`,
    see `pipelines.captions.summarize_skipped`.

        >>> load_source("scenes", train=2, test=1).splits
        ('train', 'test')

    Args:
        dataset: One of `SOURCES`.
        data_dir: The folder of the data; not for `"scenes"`.
        captions: The file of the captions, where a source takes one: needed
            for `"karpathy"`, not taken by `"scenes"` and `"coco_captions"`.
        **options: Arguments of one source: `split` and `year` for `"coco"`;
            `train`, `validation`, `test`, `novel` and `seed` for `"scenes"`.

    Returns:
        The images of all splits, in an order that stays.

    Raises:
        UserError: The name is unknown, a file is missing, or more than a
            small share of what the lists name is missing or doubtful.
    """
    if dataset not in SOURCES:
        raise UserError(
            f"Expected --dataset to be one of {', '.join(SOURCES)}. "
            f"Received: {dataset!r}"
        )
    if dataset in ("scenes", "coco_captions") and captions is not None:
        raise UserError(
            f"Expected no --captions for {dataset}, which brings its own. "
            f"Received: captions={captions!r}"
        )
    # A shell leaves the ~ of --data_dir=~/photos as it is.
    data_dir = data_dir and os.path.expanduser(data_dir)
    captions = captions and os.path.expanduser(captions)
    files = {"data_dir": data_dir, "captions": captions}
    if dataset == "scenes":
        files = {}
    elif dataset == "coco_captions":
        files = {"data_dir": data_dir}
    return _LOADERS[dataset](**files, **options)
