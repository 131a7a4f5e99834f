"""Karpathy's split JSON: images, splits and captions in one file.

Karpathy and Fei-Fei (2015) published such files for Flickr8k, Flickr30k and
COCO, as `dataset_flickr8k.json` and so on. The split `restval`, the rest of
COCO's validation images, counts as train.
"""

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.caption_files import KARPATHY, add_karpathy, read_form
from pipelines.sources.gathering import Gathering
from pipelines.sources.image_folder import ImageFolder, check_data_dir


def load_karpathy(
    data_dir: str | None, captions: str | None, name: str = "karpathy"
) -> Source:
    """Loads the images of a split JSON, in its order, from an image folder."""
    check_data_dir(data_dir, "the images that the split JSON names")
    if captions is None:
        raise UserError(
            "Expected Karpathy's split JSON; give it with "
            "--captions=dataset_coco.json. Received: captions=None"
        )
    hint = (
        "Give the image folder with --data_dir. Received: "
        f"data_dir={data_dir!r}, captions={captions!r}"
    )
    gathering = Gathering(name, hint, captions)
    example = '{"images": [{"filename": ..., "sentences": [...]}]}'
    images = read_form(gathering, captions, KARPATHY, example)
    add_karpathy(gathering, images, ImageFolder(data_dir))
    return gathering.source()
