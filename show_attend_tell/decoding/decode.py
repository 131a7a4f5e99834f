"""From annotations to words, in whichever way the settings say."""

from show_attend_tell.decoding.beam_search import search
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.decoding.greedy_and_sampling import greedy_or_sample
from show_attend_tell.decoding.settings import Decoding


def decode(
    captioner, annotations, decoding: Decoding, noise=None
) -> DecodedCaptions:
    """Says captions of annotations.

    Shapes: N images, W hypotheses of each that are carried on, of which H
    are returned, T = `decoding.max_words` + 1 steps, L locations.

    Args:
        captioner: A `Captioner`, or whatever has its `begin`, `step` and
            `vocabulary_size`.
        annotations: `(N, L, D)`, as the encoder gave them.
        decoding: The settings.
        noise: If `decoding.needs_noise`, `(N, W, T, 2)` uniform in [0, 1):
            all the chance there is, so that an image's captions follow from
            its own noise, whatever batch it is in.

    Returns:
        `DecodedCaptions`.

    Raises:
        ValueError: Chance is needed and no noise is given.
    """
    if decoding.needs_noise and noise is None:
        raise ValueError(
            "Sampling needs `noise`, (N, W, T, 2) uniform in [0, 1). "
            "Received: noise=None"
        )
    say = search if decoding.method == "beam" else greedy_or_sample
    return say(captioner, annotations, decoding, noise)
