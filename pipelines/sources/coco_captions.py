"""COCO with Karpathy's splits, as tensorflow-datasets prepares it.

The prepared data set is about 20 GB of TFRecords that hold image and
captions together. Loading reads them once, keeps the captions and the place
of each record, and holds no image; an image is read again from its place.
"""

import functools
from collections.abc import Iterator

from pipelines.captions import Source
from pipelines.errors import UserError
from pipelines.sources.gathering import Gathering, canonical_split

# A TFRecord: length (8 bytes), its checksum (4), the data, its checksum (4).
_HEADER_BYTES = 12
_FRAME_BYTES = 16


def load_coco_captions(data_dir: str | None = None) -> Source:
    """Loads `coco_captions` from where tensorflow-datasets prepared it.

    Splits are `train` and `restval` as train, `val` as validation, and `test`.
    """
    import tensorflow_datasets as tfds

    builder = tfds.builder("coco_captions", data_dir=data_dir)
    if not builder.is_prepared():
        raise UserError(
            "Expected coco_captions as tensorflow-datasets prepares it (a "
            'download of about 40 GB). Prepare it by `python -c "import '
            "tensorflow_datasets as tfds; tfds.builder('coco_captions', "
            f'data_dir={data_dir!r}).download_and_prepare()"`, or give its '
            f"folder with --data_dir. Received: {builder.data_path}"
        )
    file_format = builder.info.file_format.value
    if file_format != "tfrecord":
        raise UserError(
            "Expected coco_captions prepared with file_format='tfrecord'; "
            "prepare it so in another --data_dir. Received: "
            f"file_format={file_format!r}"
        )
    gathering = Gathering("coco_captions", f"Prepare {builder.data_path} anew.")
    for name, split in builder.info.splits.items():
        for path in split.filepaths:
            for place, file_name, captions in _records(path, builder):
                load = functools.partial(read_image, str(path), *place)
                named = canonical_split(name)
                if gathering.add_record(file_name, named, load):
                    for caption in captions:
                        gathering.add_caption(file_name, caption)
    return gathering.source()


def read_image(path: str, offset: int, length: int) -> bytes:
    """Returns the encoded image of the record at an offset, in bytes."""
    import tensorflow as tf
    from google.protobuf.message import DecodeError

    with open(path, "rb") as file:
        file.seek(offset + _HEADER_BYTES)
        data = file.read(length)
    try:
        example = tf.train.Example.FromString(data)
        return example.features.feature["image"].bytes_list.value[0]
    except (DecodeError, IndexError) as error:
        raise OSError(
            f"no image in {path} at byte {offset}; load the source anew"
        ) from error


def _records(path, builder) -> Iterator[tuple[tuple[int, int], str, list[str]]]:
    """Yields place, file name and captions of each record of a file."""
    import tensorflow as tf
    import tensorflow_datasets as tfds

    def parse(record):
        example = builder.info.features.deserialize_example(
            record, decoders={"image": tfds.decode.SkipDecoding()}
        )
        length = tf.strings.length(record)
        return length, example["image/filename"], example["captions"]["text"]

    records = tf.data.TFRecordDataset(str(path)).map(parse)
    offset = 0
    for length, name, texts in records.prefetch(8).as_numpy_iterator():
        captions = [text.decode("utf-8", "replace") for text in texts]
        yield (offset, int(length)), name.decode("utf-8", "replace"), captions
        offset += int(length) + _FRAME_BYTES
