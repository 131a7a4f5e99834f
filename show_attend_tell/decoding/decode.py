"""Generates captions from annotations, by the method of the configuration."""

from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.beam_search import search
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.decoding.greedy_and_sampling import greedy_or_sample


def decode(
    captioner, annotations, decoding: Decoding, noise=None
) -> DecodedCaptions:
    """Generates captions from annotations.

    Shapes: N images, W hypotheses of each that are carried on, of which H
    are returned, T = `decoding.max_words` + 1 steps, L locations.

    Args:
        captioner: A `Captioner`, or any object with its `begin`, `step` and
            `vocabulary_size`.
        annotations: `(N, L, D)`, from the encoder.
        decoding: The method and its options.
        noise: If `decoding.needs_noise`, `(N, W, T, 2)` uniform in [0, 1):
            all the randomness there is, so that an image's captions follow
            from its noise, whatever batch it is in.

    Raises:
        ValueError: Noise is needed and not given.
    """
    if decoding.needs_noise and noise is None:
        raise ValueError(
            "Sampling needs `noise`, (N, W, T, 2) uniform in [0, 1). "
            "Received: noise=None"
        )
    run = search if decoding.method == "beam" else greedy_or_sample
    return run(captioner, annotations, decoding, noise)
