"""What an exported captioner can be asked: functions of TensorFlow."""

from collections.abc import Callable

import tensorflow as tf

from pipelines.errors import UserError
from pipelines.images.graph_decoding import decode_squares
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.decode import decode
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
) -> dict[str, tuple[Callable, tf.TensorSpec]]:
    """Returns the functions to export, each with what it takes.

    All is inside: preprocessing, encoder, decoder and words. N images come
    first in every input and output, all other sizes are fixed: H captions of
    each (the first is the best), T = `max_words` + 1 steps, L = rows x columns
    locations.

    - `serving_default`: `images` (N,) string -> `caption` (N,) string UTF-8,
      `tokens` (N, T) int32, padded with 0, `length` (N,) int32, how many of
      them are words, `finished` (N,) bool, `log_probability` and `score` (N,)
      float32, `attention` (N, T, rows, columns) float32, zero after the end,
      `gate` (N, T) float32, `locations` (N, T) int32, `valid` (N,) bool,
      `resize_mode` (N,) string, how the model sees photos.
    - `n_best`: the same with (N, H) in place of (N,), but for `valid` and
      `resize_mode`.
    - `encode`: `images` -> `annotations` (N, L, D) float32, `valid`.
    - `from_annotations`: `annotations`, as `encode` gives them -> as `n_best`,
      without these two.

    What cannot be decoded is not `valid`: its caption is empty, its numbers
    are zero, `locations` -1. It does not change the others. What `DecodedCaptions` says
    of each value holds here too.

    Args:
        captioner: The captioner.
        decoding: How captions are said.

    Returns:
        For each name a function of one tensor, which returns a dictionary of
        tensors, and the specification of that tensor.

    Raises:
        UserError: The decoding needs chance, or photos to compare with.
    """
    refuse_consensus(decoding)
    if decoding.needs_noise:
        raise UserError(
            "An exported captioner answers the same image with the same "
            "caption. Expected --method=beam or greedy, and --context_mode=expected "
            f"or peak. Received: method={decoding.method}, "
            f"context_mode={decoding.context_mode}"
        )
    encoder, caption_generator = captioner.encoder, captioner.caption_generator
    rows, columns = caption_generator.grid
    words = caption_generator.vocabulary.words

    image_size, resize_mode = encoder.image_size, caption_generator.resize_mode
    images = tf.TensorSpec((None,), tf.string, "images")
    output = encoder.model.output
    annotations = tf.TensorSpec(output.shape, output.dtype, "annotations")

    # Functions of their own, so that signatures share them.
    @tf.function(input_signature=[images], autograph=False)
    def squares_of(images):
        return decode_squares(images, image_size, resize_mode)

    @tf.function(input_signature=[annotations], autograph=False)
    def say(annotations):
        said = decode(caption_generator.captioner, annotations, decoding)
        n, h, t = -1, decoding.num_captions, decoding.steps
        spoken = tf.sequence_mask(said.lengths, t)
        spelled = tf.where(spoken, tf.gather(words, said.tokens), "")
        text = tf.strings.reduce_join(spelled, axis=-1, separator=" ")
        return {
            "caption": tf.reshape(tf.strings.strip(text), (n, h)),
            "tokens": tf.reshape(said.tokens, (n, h, t)),
            "length": tf.reshape(said.lengths, (n, h)),
            "finished": tf.reshape(said.finished, (n, h)),
            "log_probability": tf.reshape(said.log_probability, (n, h)),
            "score": tf.reshape(said.score, (n, h)),
            "attention": tf.reshape(said.attention, (n, h, t, rows, columns)),
            "gate": tf.reshape(said.gate, (n, h, t)),
            "locations": tf.reshape(said.locations, (n, h, t)),
        }

    def from_annotations(annotations):
        return say(annotations)

    def encode(images):
        squares, valid = squares_of(images)
        annotations = encoder.model(squares, training=False)
        none = tf.zeros((), annotations.dtype)
        annotations = tf.where(valid[:, None, None], annotations, none)
        return {"annotations": annotations, "valid": valid}

    def n_best(images):
        squares, valid = squares_of(images)
        said = say(encoder.model(squares, training=False))
        return {
            **_where(valid, said),
            "valid": valid,
            "resize_mode": tf.fill(tf.shape(valid), resize_mode),
        }

    def best(images):
        answer = n_best(images)
        return {
            name: value if name in IMAGE_OUTPUTS else value[:, 0]
            for name, value in answer.items()
        }

    return {
        BEST_CAPTION: (best, images),
        ALL_CAPTIONS: (n_best, images),
        FROM_ANNOTATIONS: (from_annotations, annotations),
        ENCODE: (encode, images),
    }


def _where(valid, said: dict) -> dict:
    """Empties the answers to images that are not valid."""
    empty = {
        name: tf.constant("" if value.dtype == tf.string else 0, value.dtype)
        for name, value in said.items()
        if value.dtype != tf.bool
    }
    empty |= {"finished": tf.constant(False), "locations": tf.constant(-1)}
    return {
        name: tf.where(
            tf.reshape(valid, (-1, *[1] * (len(value.shape) - 1))),
            value,
            empty[name],
        )
        for name, value in said.items()
    }
