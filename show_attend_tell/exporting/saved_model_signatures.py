"""The signatures of an exported captioner: functions of TensorFlow.

Preprocessing, encoder, decoder and vocabulary are inside. N images come
first in every input and output, all other sizes are fixed: H captions of
each (the first is the best), T = `max_words` + 1 steps, L = rows x columns
locations.

- `serving_default`: `images` (N,) string -> `caption` (N,) string UTF-8,
  `tokens` (N, T) int32, padded with 0, `length` (N,) int32, the number of
  words, `finished` (N,) bool, `log_probability` and `score` (N,) float32,
  `attention` (N, T, rows, columns) float32, zero after the end, `gate`
  (N, T) float32, `locations` (N, T) int32, `valid` (N,) bool,
  `resize_mode` (N,) string, how the model fits photos.
- `n_best`: the same with (N, H) in place of (N,), but for `valid` and
  `resize_mode`.
- `encode`: `images` -> `annotations` (N, L, D) float32, `valid`.
- `from_annotations`: `annotations`, as from `encode` -> as `n_best`,
  without these two.

Images that cannot be decoded are not `valid`: their caption is empty,
their numbers are zero, `locations` -1. They do not change the others. See
`DecodedCaptions` for each value.
"""

import functools
from collections.abc import Sequence

import tensorflow as tf

from pipelines.errors import UserError
from pipelines.images.graph_decoding import decode_squares
from pipelines.words import is_unspaced
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.decode import decode
from show_attend_tell.exporting.archive import Signature
from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.fixed_decoding import refuse_consensus
from show_attend_tell.inference.saved_model_session import (
    ALL_CAPTIONS,
    BEST_CAPTION,
    ENCODE,
    FROM_ANNOTATIONS,
    IMAGE_OUTPUTS,
)
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner


def signatures(
    captioner: WorkdirCaptioner, decoding: Decoding
) -> dict[str, Signature]:
    """Returns the functions of the module to export, with their input specs.

    Args:
        captioner: The captioner.
        decoding: The settings.

    Raises:
        UserError: The decoding is random, or needs photos to compare with.
    """
    _check(decoding)
    encoder, size = captioner.encoder.model, captioner.encoder.image_size
    resize_mode = captioner.caption_generator.resize_mode
    images = tf.TensorSpec((None,), tf.string, "images")
    output = encoder.output
    annotations = tf.TensorSpec(output.shape, output.dtype, "annotations")
    # Traced once, and shared by the signatures.
    squares_of = tf.function(
        lambda images: decode_squares(images, size, resize_mode),
        input_signature=[images],
        autograph=False,
    )
    captions_of = tf.function(
        functools.partial(_captions, captioner.caption_generator, decoding),
        input_signature=[annotations],
        autograph=False,
    )

    def from_annotations(annotations):
        return captions_of(annotations)

    def encode(images):
        squares, valid = squares_of(images)
        annotations = encoder(squares, training=False)
        return {"annotations": _where(valid, annotations), "valid": valid}

    def n_best(images):
        squares, valid = squares_of(images)
        captions = captions_of(encoder(squares, training=False))
        return {
            **{name: _where(valid, x) for name, x in captions.items()},
            "locations": _where(valid, captions["locations"], -1),
            "valid": valid,
            "resize_mode": tf.fill(tf.shape(valid), resize_mode),
        }

    def best(images):
        return {
            name: value if name in IMAGE_OUTPUTS else value[:, 0]
            for name, value in n_best(images).items()
        }

    return {
        BEST_CAPTION: (best, [images]),
        ALL_CAPTIONS: (n_best, [images]),
        FROM_ANNOTATIONS: (from_annotations, [annotations]),
        ENCODE: (encode, [images]),
    }


def _check(decoding: Decoding) -> None:
    refuse_consensus(decoding)
    if decoding.needs_noise:
        raise UserError(
            "An exported captioner answers the same image with the same "
            "caption. Expected --method=beam or greedy, and "
            "--context_mode=expected or peak. Received: "
            f"method={decoding.method}, context_mode={decoding.context_mode}"
        )


def _captions(generator: CaptionGenerator, decoding: Decoding, annotations):
    """Returns the outputs of `from_annotations`, with all shapes fixed."""
    decoded = decode(generator.captioner, annotations, decoding)._asdict()
    n, h, t = -1, decoding.num_captions, decoding.steps
    lengths = decoded.pop("lengths")
    is_word = tf.sequence_mask(lengths, t)
    words = _joinable_words(generator.vocabulary.words, decoded["tokens"])
    text = tf.strings.reduce_join(tf.where(is_word, words, ""), axis=-1)
    decoded |= {"caption": text, "length": lengths}
    steps = {"tokens": (t,), "gate": (t,), "locations": (t,)}
    steps["attention"] = (t, *generator.grid)
    return {
        name: tf.reshape(value, (n, h, *steps.get(name, ())))
        for name, value in decoded.items()
    }


def _joinable_words(vocabulary: Sequence[str], tokens):
    """Returns the words of `(..., T)` tokens, spaced as `join_words` does."""
    spaced = tf.constant([not is_unspaced(word) for word in vocabulary])
    spaced = tf.gather(spaced, tokens)
    before = tf.concat([tf.zeros_like(spaced[..., :1]), spaced[..., :-1]], -1)
    spaces = tf.where(spaced & before, " ", "")
    return tf.strings.join([spaces, tf.gather(vocabulary, tokens)])


def _where(valid, value, empty=None):
    """Empties what belongs to images that are not valid."""
    valid = tf.reshape(valid, (-1, *[1] * (len(value.shape) - 1)))
    empty = tf.zeros_like(value) if empty is None else empty
    return tf.where(valid, value, empty)
