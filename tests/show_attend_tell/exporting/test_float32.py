"""A captioner trained in mixed precision is converted to float32."""

import keras
import numpy as np

from show_attend_tell.decoding.decode import decode
from show_attend_tell.exporting.float32 import in_float32
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.exporting import small
from tests.show_attend_tell.tiny import D, L


def test_captions_are_those_of_the_equations():
    mixed = small.captioner(dtype="mixed_float16")
    captioner = in_float32(mixed)
    assert (
        mixed.caption_generator.captioner.output_layer.compute_dtype
        == "float16"
    )
    model = captioner.caption_generator.captioner
    for square in small.squares(3):
        # In float16 the oracle would be missed by a thousandth.
        oracle = plain.Oracle(model, small.annotations_of(square))
        given = small.annotations_of(square) / small.SCALE
        captions = decode(model, given[None].astype("float32"), small.DECODING)
        expected = plain.beam(oracle, small.DECODING)[:1]
        plain.assert_captions(captions, 0, expected, small.DECODING, oracle)
        np.testing.assert_allclose(
            captions.log_probability[0, 0],
            expected[0].log_probability,
            atol=1e-5,
        )


def test_the_fine_tuned_part_of_the_encoder_is_converted_too():
    features = keras.Input((L, 7))
    dense = keras.layers.Dense(D, dtype="mixed_float16", name="dense")
    grid = keras.layers.Reshape((1, L, D))(dense(features))
    encoder = keras.Model(features, grid, name="encoder")
    model = plain.varied_captioner(encoder=encoder, dtype="mixed_float16")
    plain.fill(encoder)
    caption_generator = CaptionGenerator(
        model, small.captioner().caption_generator.vocabulary, (1, L), ""
    )
    captioner = WorkdirCaptioner(
        small.encoder(), caption_generator, small.DECODING
    )
    given = np.random.default_rng(0).normal(size=(1, L, 7)).astype("float32")
    kernel, bias = (np.asarray(w) for w in dense.weights)
    actual = in_float32(captioner).caption_generator.captioner.encode(given)
    np.testing.assert_allclose(actual, given @ kernel + bias, atol=1e-6)
    assert np.abs(model.encode(given) - actual).max() > 1e-5


def test_what_computes_in_float32_stays():
    captioner = small.captioner()
    assert in_float32(captioner) is captioner
