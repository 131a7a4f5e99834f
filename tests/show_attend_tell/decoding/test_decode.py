"""What all methods of decoding have in common."""

import numpy as np
import pytest
import tensorflow as tf

from pipelines.vocabulary import END, PADDING
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from tests import reference
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.layers.checks import assert_close
from tests.show_attend_tell.layers.dot_product_attention import (
    DotProductAttention,
)
from tests.show_attend_tell.tiny import D, L, make_captioner

N = 7
METHODS = {
    "greedy": Decoding("greedy", max_words=6, min_words=0),
    "beam": Decoding(beam_width=3, num_captions=3, max_words=5, min_words=0),
    "sample": Decoding("sample", num_captions=2, max_words=4, min_words=0),
}


@pytest.fixture(scope="module", params=METHODS)
def method(request):
    return METHODS[request.param]


@pytest.fixture(scope="module")
def captioner():
    return plain.varied_captioner()


@pytest.fixture(scope="module")
def captions(captioner, method):
    return decode(
        captioner, plain.annotations_of(N), method, plain.noise_of(N, method)
    )


def test_the_example_has_all_kinds(captions):
    # Otherwise the other tests would prove little.
    lengths, finished = map(np.asarray, (captions.lengths, captions.finished))
    assert not finished.all() and len(set(lengths[finished])) > 1


def test_a_batch_is_as_many_batches_of_one(captioner, method, captions):
    # Some are done long before others: that must not show.
    annotations, noise = plain.annotations_of(N), plain.noise_of(N, method)
    for i in range(0, N, 2):
        one = slice(i, i + 1)
        single = decode(captioner, annotations[one], method, noise[one])
        assert_close(single, [x[one] for x in captions])


def test_attention_is_a_distribution_up_to_the_end(captions):
    is_word = np.asarray(captions.tokens) != PADDING
    sums = np.sum(captions.attention, -1)
    np.testing.assert_allclose(sums, is_word.astype(float), rtol=1e-5)
    assert np.asarray(captions.attention).min() >= 0


def test_a_compiled_graph_of_unknown_batch_is_the_same(
    captioner, method, captions
):
    noise = plain.noise_of(N, method)
    function = tf.function(
        lambda annotations, noise: decode(
            captioner, annotations, method, noise
        ),
        input_signature=[
            tf.TensorSpec((None, L, D)),
            tf.TensorSpec((None, *noise.shape[1:])),
        ],
        jit_compile=True,
        autograph=False,
    )
    compiled = function(plain.annotations_of(N), noise)
    assert_close(compiled, captions)
    assert [x.dtype for x in compiled] == [x.dtype for x in captions]


def test_mixed_precision(method):
    mixed = plain.varied_captioner(dtype="mixed_bfloat16")
    noise = plain.noise_of(N, method)
    captions = decode(mixed, plain.annotations_of(N), method, noise)
    assert captions.attention.dtype == "float32"
    assert np.all(np.isfinite(captions.log_probability))


def test_a_certain_end_stops_at_once(method):
    captioner, noise = plain.captioner_of(END), plain.noise_of(N, method)
    captions = decode(captioner, plain.annotations_of(N), method, noise)
    tokens = np.asarray(captions.tokens[:, 0])
    np.testing.assert_array_equal(tokens[:, 0], END)
    assert not np.any(tokens[:, 1:]) and not np.any(captions.lengths[:, 0])
    np.testing.assert_allclose(captions.log_probability[:, 0], 0, atol=1e-6)


@pytest.mark.parametrize("decoding", [METHODS["greedy"], METHODS["beam"]])
def test_plugged_in_attention_decodes(decoding, monkeypatch):
    def attend(hidden, annotations, w):
        query = hidden @ w["query/kernel"] + w["query/bias"]
        attention = reference.softmax(annotations @ query)
        return attention @ annotations, attention

    monkeypatch.setattr(reference, "attend", attend)
    captioner = make_captioner(
        attention=DotProductAttention(D, name="attention")
    )
    plain.check_search(captioner, plain.annotations_of(2), decoding)


def test_sampling_without_noise_is_refused(captioner):
    with pytest.raises(ValueError, match="noise"):
        decode(captioner, plain.annotations_of(1), METHODS["sample"])
