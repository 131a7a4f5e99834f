"""Writes a `Source` as a data set of tensorflow-datasets."""

import abc
import io
import pathlib
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow_datasets as tfds
from absl import logging

from pipelines.captions import CaptionedImage, Source, summarize_skipped


class CaptionedImages(
    tfds.core.GeneratorBasedBuilder, abc.ABC, skip_registration=True
):
    """Writes the images and captions of a source, one example an image.

    Features of an example:
        image: The encoded image as it is, decoded to uint8 (H, W, 3).
        image/filename: The id of the image.
        captions: The captions, strings (N,).
    """

    HOMEPAGE: str | None = None
    CITATION: str | None = None
    VERSION = tfds.core.Version("1.0.0")
    url_infos = {}  # Nothing is downloaded, so there are no checksums to find.

    @abc.abstractmethod
    def load(self, dl_manager: tfds.download.DownloadManager) -> Source:
        """Returns the source that this builder writes."""

    def _info(self):
        features = {
            "image": tfds.features.Image(),
            "image/filename": tfds.features.Text(),
            "captions": tfds.features.Sequence(tfds.features.Text()),
        }
        return tfds.core.DatasetInfo(
            builder=self,
            description=type(self).__doc__,
            homepage=self.HOMEPAGE,
            citation=self.CITATION,
            features=tfds.features.FeaturesDict(features),
        )

    def _split_generators(self, dl_manager):
        source = self.load(dl_manager)
        if source.skipped:
            logging.warning("%s", summarize_skipped(source.skipped))
        return {
            split: self._generate_examples(source.split(split))
            for split in source.splits
        }

    def _generate_examples(
        self, images: Iterable[CaptionedImage]
    ) -> Iterator[tuple[str, dict[str, Any]]]:
        for image in images:
            example = {
                "image": io.BytesIO(image.read()),
                "image/filename": image.id,
                "captions": image.captions,
            }
            yield image.id, example


def manual_folder(
    builder: tfds.core.DatasetBuilder, dl_manager: tfds.download.DownloadManager
) -> str:
    """Returns `manual_dir/NAME`, or `manual_dir` where that does not exist."""
    folder = pathlib.Path(dl_manager.manual_dir)
    subfolder = folder / builder.name
    return str(subfolder if subfolder.is_dir() else folder)
