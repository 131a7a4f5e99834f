"""Karpathy's split JSON: images, splits and captions in one file.

The form, less what is not used:

    {"images": [{"filename": "a.jpg", "filepath": "val2014", "split": "train",
                 "sentences": [{"raw": "A dog runs."}]}], "dataset": "coco"}

Karpathy and Fei-Fei (2015) published such files for Flickr8k, Flickr30k and
COCO, as `dataset_flickr8k.json` and so on. The split `restval`, the rest of
COCO's validation images, counts as train.
"""

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.annotation_files import read_json
from pipelines.sources.gathering import Gathering, canonical_split
from pipelines.sources.image_folder import ImageFolder, check_data_dir


def load_karpathy(
    data_dir: str | None, captions: str | None, name: str = "karpathy"
) -> Source:
    """Loads a split JSON.

    Args:
        data_dir: The image folder. An image is looked for as
            `filepath/filename`, then as `filename`.
        captions: The JSON file.
        name: The name of the source.

    Returns:
        The images in the order of the file; the id is the file name.

    Raises:
        UserError: The file is missing or not of this form, or too much is
            doubtful.
    """
    check_data_dir(data_dir, "the images that the split JSON names")
    if captions is None:
        raise UserError(
            "Expected Karpathy's split JSON; give it with "
            "--captions=dataset_coco.json. Received: captions=None"
        )
    content = read_json(captions)
    images = content.get("images") if isinstance(content, dict) else None
    if not isinstance(images, list):
        raise UserError(
            f'Expected {{"images": [...]}} in {captions}; give Karpathy\'s '
            f"split JSON with --captions=dataset_coco.json. Received: "
            f"{type(content).__name__}"
        )
    gathering = Gathering(
        name,
        f"Give the image folder with --data_dir. Received: "
        f"data_dir={data_dir!r}, captions={captions!r}",
    )
    folder = ImageFolder(data_dir)
    for number, image in enumerate(images):
        if isinstance(image, dict):
            _add(gathering, folder, image)
        else:
            gathering.doubt("image", f"images[{number}]", "not an object")
    return gathering.source()


def _add(gathering, folder, image):
    id = image.get("filename")
    split = canonical_split(image.get("split"))
    if split is None:
        return gathering.doubt("image", id, "no split")
    files = [id]
    if isinstance(image.get("filepath"), str) and isinstance(id, str):
        files.insert(0, f"{image['filepath']}/{id}")
    if gathering.add_image(id, split, folder, *files):
        sentences = image.get("sentences")
        for sentence in sentences if isinstance(sentences, list) else ():
            gathering.add_caption(id, _text(sentence))


def _text(sentence):
    if not isinstance(sentence, dict):
        return None
    tokens = sentence.get("tokens")
    if "raw" not in sentence and isinstance(tokens, list):
        return " ".join(token for token in tokens if isinstance(token, str))
    return sentence.get("raw")
