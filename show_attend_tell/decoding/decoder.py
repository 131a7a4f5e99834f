"""From annotations to words, in whichever way the settings say."""

from show_attend_tell.decoding.beam_search import search
from show_attend_tell.decoding.chains import chain
from show_attend_tell.decoding.settings import Captions, Decoding


def decode(captioner, annotations, decoding: Decoding, noise=None) -> Captions:
    """Says captions of annotations.

    Shapes: N images, H hypotheses of each, T = `decoding.max_words` + 1
    steps, L locations.

    Args:
        captioner: A `Captioner`, or whatever has its `begin`, `step` and
            `vocabulary_size`.
        annotations: `(N, L, D)`, as the encoder gave them.
        decoding: The settings.
        noise: For sampling, `(N, H, T)` uniform in [0, 1): all the chance
            there is, so that an image's captions follow from its own noise,
            whatever batch it is in.

    Returns:
        `Captions`.

    Raises:
        ValueError: Sampling was given no noise.
    """
    if decoding.method == "beam":
        return search(captioner, annotations, decoding)
    if decoding.method == "greedy":
        return chain(captioner, annotations, decoding)
    if noise is None:
        raise ValueError(
            "Sampling needs `noise`, (N, H, T) uniform in [0, 1). "
            "Received: noise=None"
        )
    return chain(captioner, annotations, decoding, noise)
