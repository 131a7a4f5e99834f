"""Flickr8k for tensorflow-datasets."""

from pipelines.builders.captioned_images import CaptionedImages, manual_folder
from pipelines.sources import load_source


class Flickr8k(CaptionedImages):
    """Flickr8k: 8,000 photos with five captions each (Hodosh et al., 2013)."""

    HOMEPAGE = "https://forms.illinois.edu/sec/1713398"
    CITATION = """\
    @article{hodosh2013framing,
      author  = {Micah Hodosh and Peter Young and Julia Hockenmaier},
      title   = {Framing Image Description as a Ranking Task: Data, Models and
                 Evaluation Metrics},
      journal = {Journal of Artificial Intelligence Research},
      volume  = {47},
      pages   = {853--899},
      year    = {2013},
    }
    """
    MANUAL_DOWNLOAD_INSTRUCTIONS = """\
    Ask for the archives at https://forms.illinois.edu/sec/1713398 and unpack
    them into manual_dir, or into flickr8k/ inside it: Flickr8k.token.txt,
    Flickr_8k.trainImages.txt, Flickr_8k.devImages.txt,
    Flickr_8k.testImages.txt, and the photos in Flicker8k_Dataset/.
    """

    def load(self, dl_manager):
        """Returns the photos in `manual_dir`."""
        return load_source("flickr8k", manual_folder(self, dl_manager))
