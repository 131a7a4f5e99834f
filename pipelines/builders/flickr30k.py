"""Flickr30k for tensorflow-datasets."""

from pipelines.builders.captioned_images import CaptionedImages, manual_folder
from pipelines.sources import load_source


class Flickr30k(CaptionedImages):
    """Flickr30k: 31,783 photos, five captions each (Young et al., 2014)."""

    HOMEPAGE = "https://shannon.cs.illinois.edu/DenotationGraph/"
    CITATION = """\
    @article{young2014image,
      author  = {Peter Young and Alice Lai and Micah Hodosh and Julia
                 Hockenmaier},
      title   = {From image descriptions to visual denotations: New similarity
                 metrics for semantic inference over event descriptions},
      journal = {Transactions of the Association for Computational
                 Linguistics},
      volume  = {2},
      pages   = {67--78},
      year    = {2014},
    }
    """
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Ask for the archives at https://shannon.cs.illinois.edu/DenotationGraph/
    and unpack them into manual_dir, or into flickr30k/ inside it:
    results_20130124.token and the photos in flickr30k-images/. Add
    the split lists train.txt, val.txt and test.txt, or Karpathy's
    dataset_flickr30k.json.
    """

    def load(self, dl_manager):
        """Returns the photos in `manual_dir`."""
        return load_source("flickr30k", manual_folder(self, dl_manager))
