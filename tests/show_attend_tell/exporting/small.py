"""A captioner of which every number is known, small enough to convert."""

import dataclasses

import keras
import numpy as np

from pipelines.encoders.common_grid import concatenated
from pipelines.encoders.encoder import Encoder
from pipelines.vocabulary import Vocabulary
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.layers.checks import random_array
from tests.show_attend_tell.tiny import D, L

SIZE, PATCH = 10, (10, 10 // L)  # One row of L patches.
WORDS = ["a", "café", "犬", "on", "grass", "น้ำ", "ball"]
DECODING = Decoding(beam_width=3, max_words=5)
SCALE = 3.0


def kernel():
    return random_array(*PATCH, 3, D, seed=5, scale=0.3)


def encoder(name="small_encoder"):
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="images")
    pixels = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    # Linear, so that the converter could melt the scale into it.
    convolution = keras.layers.Conv2D(D, PATCH, PATCH, use_bias=False)
    annotations = keras.layers.Reshape((L, D))(convolution(pixels))
    convolution.set_weights([kernel()])
    return Encoder(
        "small", "conv", SIZE, (1, L), D, "0" * 64,
        keras.Model(images, annotations, name=name), "x / 127.5 - 1",
    )  # fmt: skip


def encoder_of_two_layers():
    """Two layers side by side: L patches of 4 numbers, and 2 of all.

    Those of all are averages of what the patches have, times 0.5.
    """
    images = keras.Input((SIZE, SIZE, 3), dtype="uint8", name="images")
    pixels = keras.layers.Rescaling(1 / 127.5, offset=-1.0)(images)
    patches = keras.layers.Conv2D(4, PATCH, PATCH, use_bias=False)
    everything = keras.layers.Conv2D(2, (SIZE, SIZE), use_bias=False)
    maps = [patches(pixels), everything(pixels)]
    patches.set_weights([kernel()[..., :4]])
    everything.set_weights(
        [np.concatenate([kernel()[..., 4:]] * L, axis=1) / L]
    )
    return dataclasses.replace(
        encoder(),
        model=keras.Model(
            images, concatenated(maps, [1.0, 0.5]), name="encoder"
        ),
        parts=((1, L, 4), (1, 1, 2)),
    )


def annotations_of(square):
    """The encoder in NumPy, scaled: `(S, S, 3)` -> `(L, D)`."""
    pixels = square.astype(np.float64) / 127.5 - 1
    rows, columns = PATCH
    patches = pixels.reshape(rows, L, columns, 3).transpose(1, 0, 2, 3)
    annotations = patches.reshape(L, -1) @ kernel().astype(np.float64).reshape(
        -1, D
    )
    return SCALE * annotations


def captioner(decoding=DECODING, resize_mode="squash", **arguments):
    vocabulary = Vocabulary(WORDS)
    model = plain.varied_captioner(
        annotation_scale=SCALE,
        vocabulary_digest=vocabulary.digest,
        **arguments,
    )
    caption_generator = CaptionGenerator(model, vocabulary, (1, L), resize_mode)
    return WorkdirCaptioner(encoder(), caption_generator, decoding)


def squares(count):
    """Images of the size that the encoder takes, each patch of a colour."""
    rng = np.random.default_rng(0)
    colours = rng.integers(0, 256, (count, 1, L, 3), np.uint8)
    return colours.repeat(PATCH[0], axis=1).repeat(PATCH[1], axis=2)
