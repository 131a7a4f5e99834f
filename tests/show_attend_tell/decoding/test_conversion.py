"""Decoding converts to LiteRT, with nothing but its builtin operations."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf

from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.tiny import D, L


@pytest.fixture(scope="module")
def captioner():
    return plain.varied_captioner()


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding(beam_width=3, num_captions=2, no_repeat_ngram_size=2),
        Decoding("sample", num_captions=2, top_k=5, top_p=0.9),
        Decoding("greedy", context_mode="peak"),
        Decoding(beam_width=2, context_mode="sampled"),
    ],
    ids=lambda decoding: f"{decoding.method}-{decoding.context_mode}",
)
def test_it_converts_and_generates_the_same(captioner, decoding):
    decoding = dataclasses.replace(decoding, max_words=6)

    @tf.function(autograph=False)
    def run(annotations, noise):
        return decode(captioner, annotations, decoding, noise)._asdict()

    noise = plain.noise_of(1, decoding)
    concrete = run.get_concrete_function(
        tf.TensorSpec((1, L, D), name="annotations"),
        tf.TensorSpec(noise.shape, name="noise"),
    )
    module = tf.Module()  # Holds the weights only.
    module.weights = [weight.value for weight in captioner.weights]
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [concrete], module
    )
    # Builtins are the default; saying so makes a Flex operation an error.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    converted = interpreter.get_signature_runner()
    for annotations in plain.annotations_of(3)[:, None]:
        expected = decode(captioner, annotations, decoding, noise)
        captions = converted(annotations=annotations, noise=noise)
        for name, value in expected._asdict().items():
            np.testing.assert_allclose(
                captions[name], value, rtol=1e-4, atol=1e-5, err_msg=name
            )
