"""A captioner with a user's attention is exported like any other."""

import functools
import io

import pytest
from PIL import Image

from show_attend_tell.exporting.archive import write_archive
from show_attend_tell.exporting.saved_model_signatures import signatures
from show_attend_tell.exporting.tflite import export_tflite
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.saved_model_captioner import parse_answer
from show_attend_tell.inference.saved_model_session import SavedModelSession
from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from tests.show_attend_tell.decoding import plain
from tests.show_attend_tell.exporting import small
from tests.show_attend_tell.layers.dot_product_attention import (
    DotProductAttention,
    ScaledDotProductAttention,
)
from tests.show_attend_tell.tiny import D, L, make_captioner


@functools.cache
def captioner_with(attention):
    like = small.captioner()
    model = make_captioner(
        11,
        1.0,
        attention=attention(D),
        annotation_scale=small.SCALE,
        vocabulary_digest=like.caption_generator.vocabulary.digest,
    )
    plain.add_to_bias(model, {2: 1.0})
    generator = CaptionGenerator(
        model, like.caption_generator.vocabulary, (1, L), "squash"
    )
    return WorkdirCaptioner(like.encoder, generator, like.decoding)


def encoded(square):
    file = io.BytesIO()
    Image.fromarray(square).save(file, "PNG")
    return file.getvalue()


# Without keys, and with keys of another shape than additive ones.
@pytest.mark.parametrize(
    "attention", [DotProductAttention, ScaledDotProductAttention]
)
def test_tflite_captions_equal_those_of_keras(attention, tmp_path):
    """The export checks its captions, and those that steps make."""
    path, agreements = export_tflite(
        captioner_with(attention), tmp_path / "small.tflite"
    )
    agreement = agreements["scenes"]
    assert agreement.greedy == agreement.beam == agreement.steps == 1
    device = TFLiteCaptioner(path)
    captions = device.caption([encoded(s) for s in small.squares(8)])
    assert len({caption.text for caption in captions}) > 2


def test_saved_model_captions_equal_those_of_keras(tmp_path):
    captioner = captioner_with(ScaledDotProductAttention)
    photos = [encoded(square) for square in small.squares(8)]
    functions = signatures(captioner, captioner.decoding)
    write_archive(tmp_path / "1", functions)
    with SavedModelSession(tmp_path / "1") as session:
        answer = session("n_best", images=photos)
    expected = captioner.caption(photos)
    for n, caption in enumerate(expected):
        answered = parse_answer(answer, n, (1, L), "squash")
        assert answered.words == caption.words
        assert answer["caption"][n, 0].decode() == caption.text
        assert answered.attention == pytest.approx(caption.attention, abs=1e-5)
    # Spaces are left out between some words, and not between all.
    assert any(" " in caption.text for caption in expected)
    assert any(" ".join(c.words) != c.text for c in expected)
