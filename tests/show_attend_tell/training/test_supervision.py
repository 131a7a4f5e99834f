"""What the words of sampled captions name, by hand."""

import numpy as np

from pipelines.boxes.photo_boxes import NamedBoxes, PhotoBoxes
from pipelines.captions import CaptionedImage
from pipelines.vocabulary import END, PADDING, START, Vocabulary
from show_attend_tell.training.supervision import coverage_of_samples


def test_coverage_of_sampled_captions():
    images = [CaptionedImage(id, "train", ()) for id in ("a", "b")]
    dog = NamedBoxes("animals", ((0.0, 0.0, 0.75, 1.0),))
    boxes = PhotoBoxes({"b": {"dog": dog}}, enumerate)
    vocabulary = Vocabulary(["runs", "dog"])
    runs, dog = vocabulary.ids_of(["runs", "dog"])
    cover = coverage_of_samples(images, vocabulary, boxes, (1, 2))
    tokens = [
        [[START, dog, runs, END], [START, runs, dog, runs]],
        [[START, dog, END, PADDING], [START, dog, END, PADDING]],
        [[PADDING] * 4, [PADDING] * 4],
    ]
    covered = cover(np.array(tokens, np.int32), np.array([1, 0, -1]))
    expected = np.zeros((3, 2, 3, 2), np.float32)
    expected[0, 0, 0] = expected[0, 1, 1] = [1.0, 0.5]
    np.testing.assert_array_equal(covered, expected)
