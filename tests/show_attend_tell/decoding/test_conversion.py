"""Decoding converts to LiteRT, with builtin operations alone."""

import numpy as np
import pytest
import tensorflow as tf

from show_attend_tell.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.test_model import D, L


def _module(captioner):
    """Holds the weights and, unlike the model, no function of its own."""
    module = tf.Module()
    module.weights = [weight.value for weight in captioner.weights]
    return module


@pytest.mark.parametrize(
    "decoding",
    [
        Decoding("greedy", max_words=6),
        Decoding(
            beam_width=3, num_captions=2, max_words=6, no_repeat_ngram_size=2
        ),
        Decoding("sample", num_captions=2, max_words=6, top_k=5, top_p=0.9),
        Decoding("greedy", max_words=6, context_mode="peak"),
        Decoding(beam_width=2, max_words=6, context_mode="sampled"),
    ],
    ids=lambda decoding: f"{decoding.method}-{decoding.context_mode}",
)
def test_it_converts_and_says_the_same(decoding):
    captioner = plain.varied_captioner()

    @tf.function(autograph=False)
    def speak(annotations, noise):
        return decode(captioner, annotations, decoding, noise)._asdict()

    shape = (1, decoding.width, decoding.steps, 2)
    concrete = speak.get_concrete_function(
        tf.TensorSpec((1, L, D), name="annotations"),
        tf.TensorSpec(shape, name="noise"),
    )
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [concrete], _module(captioner)
    )
    # Builtins are the default; saying so makes a Flex operation an error.
    converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS]
    interpreter = tf.lite.Interpreter(model_content=converter.convert())
    run = interpreter.get_signature_runner()
    noise = np.random.default_rng(0).random(shape, np.float32)
    for annotations in plain.annotations_of(3)[:, None]:
        expected = decode(captioner, annotations, decoding, noise)
        found = run(annotations=annotations, noise=noise)
        for name, value in expected._asdict().items():
            np.testing.assert_allclose(
                found[name], value, rtol=1e-4, atol=1e-5, err_msg=name
            )
