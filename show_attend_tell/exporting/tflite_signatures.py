"""What a captioner can be asked on a device: functions of fixed shapes."""

import dataclasses
from collections.abc import Callable

import tensorflow as tf
from keras import ops

from pipelines.errors import UserError
from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.candidates import mask_tokens
from show_attend_tell.decoding.context_weights import ContextWeights
from show_attend_tell.decoding.decode import decode
from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.inference.fixed_decoding import refuse_consensus
from show_attend_tell.inference.tflite_file import (
    BEAM,
    ENCODE,
    GREEDY,
    START_CAPTION,
    STEP,
)
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from show_attend_tell.model import Captioner, DecodingState

Function = tuple[Callable, list[tf.TensorSpec]]


def tflite_signatures(
    captioner: WorkdirCaptioner, decoding: Decoding
) -> dict[str, Function]:
    """Returns the functions to convert, each with what it takes.

    One image at a time, S x S pixels; W = `max_words`, L = rows x columns
    locations, row by row; annotations of D, U units, keys of A, V words.
    float32 where nothing else is said.

    - `greedy`, `beam`: `image` (1, S, S, 3) uint8 RGB -> `tokens` (1, W)
      int32, the words, then zeros; `length` (1,) int32, how many words;
      `finished` (1,) int32, whether the end was reached;
      `log_probability` (1,) of words and end; `score` (1,), what hypotheses
      are ranked by; `attention` (1, W, L) and `gate` (1, W), zero after the
      words.
    - `encode`: `image` -> `annotations` (1, L, D).
    - `start`: `annotations` -> `hidden` (1, U), `cell` (1, U), and what
      every step needs: `scaled` (1, L, D), `keys` (1, L, A).
    - `step`: `token` (1,) int32, the previous word or the start, `hidden`,
      `cell`, `scaled`, `keys` -> `log_probabilities` (1, V) of the next
      word, -1e9 or less for what is never said, `hidden`, `cell`,
      `attention` (1, L), `gate` (1, 1), the mean of a vector gate.

    Of the constraints `step` knows which words are never said, and that a
    caption does not end before its first word where it must have one. Longer
    `min_words` and `no_repeat_ngram_size` are left to whoever takes the steps.

    Args:
        captioner: The captioner.
        decoding: How captions are said. Its method does not matter.

    Raises:
        UserError: The captioner is an ensemble, the decoding needs chance,
            or more than one caption is wanted.
    """
    model = captioner.caption_generator.captioner
    _check(model, decoding)
    encoder, size = captioner.encoder.model, captioner.encoder.image_size
    locations = tf.math.reduce_prod(captioner.caption_generator.grid).numpy()
    image = tf.TensorSpec((1, size, size, 3), tf.uint8, "image")

    def encode(image):
        return model.encode(encoder(image, training=False))

    def caption_by(method):
        settings = dataclasses.replace(decoding, method=method)

        def caption(image):
            encoded = _apart(encode(image))
            return _best(decode(_Decoder(model), encoded, settings))

        return caption

    def annotations_of(image):
        return {"annotations": encode(image)}

    def start(annotations):
        state, scaled, keys = model.start(_apart(annotations))
        return {**state._asdict(), "scaled": scaled, "keys": keys}

    def step(token, hidden, cell, scaled, keys):
        logits, state, attention, gate = model.step(
            token,
            DecodingState(hidden, cell),
            scaled,
            keys,
            ContextWeights(decoding, None, 0),
        )
        logits = ops.cast(logits, "float32")
        said = ops.where(ops.equal(token, START), 0, decoding.min_words)
        log_p = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
        return {
            "log_probabilities": log_p
            + mask_tokens(model.vocabulary_size, said, decoding),
            **state._asdict(),
            "attention": attention,
            "gate": ops.mean(gate, axis=-1, keepdims=True),
        }

    depth = model.decoder.cell.context_kernel.shape[0]
    annotations = tf.TensorSpec((1, locations, depth), name="annotations")
    units = model.initial_state.units
    carried = [
        tf.TensorSpec((1,), tf.int32, "token"),
        tf.TensorSpec((1, units), name="hidden"),
        tf.TensorSpec((1, units), name="cell"),
        tf.TensorSpec((1, locations, depth), name="scaled"),
        tf.TensorSpec(
            (1, locations, model.decoder.cell.attention.units), name="keys"
        ),
    ]
    return {
        GREEDY: (caption_by("greedy"), [image]),
        BEAM: (caption_by("beam"), [image]),
        ENCODE: (annotations_of, [image]),
        START_CAPTION: (start, [annotations]),
        STEP: (step, carried),
    }


class _Decoder:
    """What `decode` needs of a captioner, for annotations already encoded."""

    def __init__(self, captioner: Captioner):
        self.begin, self.step = captioner.start, captioner.step
        self.vocabulary_size = captioner.vocabulary_size


def _apart(annotations):
    """Keeps the encoder and the decoder apart; changes no number.

    Otherwise the converter melts the decoder's scale into the encoder's last
    convolution, which signatures then have no longer in common, and which is
    no longer the encoder's to quantise. And where the scale is one, `start`
    would give back its input itself, for which LiteRT.js answers zeros.
    """
    return ops.minimum(annotations, 3e38)


def _check(model, decoding: Decoding) -> None:
    if not isinstance(model, Captioner):
        raise UserError(
            "Expected one model: the signatures for devices take the steps of "
            "one. Received: an ensemble. Leave --ensemble out."
        )
    refuse_consensus(decoding)
    if decoding.needs_noise or decoding.num_captions != 1:
        raise UserError(
            "A captioner on a device says one caption, always the same. "
            "Expected --method=beam or greedy, --context_mode=expected or peak, and "
            f"--num_captions=1. Received: method={decoding.method}, "
            f"context_mode={decoding.context_mode}, num_captions={decoding.num_captions}"
        )


def _best(said: DecodedCaptions) -> dict:
    """Returns the best caption of an image, without its end."""
    words = said.tokens[:, 0, :-1]
    spoken = ops.logical_and(
        ops.not_equal(words, PADDING), ops.not_equal(words, END)
    )
    alive = ops.cast(spoken, "float32")
    return {
        "tokens": ops.where(spoken, words, PADDING),
        "length": said.lengths[:, 0],
        "finished": ops.cast(said.finished[:, 0], "int32"),
        "log_probability": said.log_probability[:, 0],
        "score": said.score[:, 0],
        "attention": said.attention[:, 0, :-1] * alive[..., None],
        "gate": said.gate[:, 0, :-1] * alive,
    }
