"""The signatures of a TFLite captioner: functions of fixed shapes.

One image at a time, S x S pixels; W = `max_words`, L = rows x columns
locations, row by row; annotations of D, U units, V words. float32
unless another type is given.

- `greedy`, `beam`: `image` (1, S, S, 3) uint8 RGB -> `tokens` (1, W)
  int32, the words, then zeros; `length` (1,) int32, how many words;
  `finished` (1,) int32, whether the end was reached;
  `log_probability` (1,) of words and end; `score` (1,), what hypotheses
  are ranked by; `attention` (1, W, L) and `gate` (1, W), zero after the
  words.
- `encode`: `image` -> `annotations` (1, L, D).
- `start`: `annotations` -> `hidden` (1, U), `cell` (1, U), and what
  every step needs: `scaled` (1, L, D), and `keys`, of the shape and type
  that the attention's `project` gives, (1, L, A) for additive attention.
- `step`: `token` (1,) int32, the previous word or the start, `hidden`,
  `cell`, `scaled`, `keys` -> `log_probabilities` (1, V) of the next
  word, -1e9 or less for words that decoding excludes, `hidden`, `cell`,
  `attention` (1, L), `gate` (1, 1), the mean of a vector gate.

Of the constraints `step` applies the excluded words, and the one that a
caption of `min_words` does not end before its first word. Longer
`min_words` and `no_repeat_ngram_size` are left to its caller.
"""

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
from show_attend_tell.exporting.archive import Signature
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


def tflite_signatures(
    captioner: WorkdirCaptioner, decoding: Decoding
) -> dict[str, Signature]:
    """Returns the functions of the module to convert, with their input specs.

    Args:
        captioner: The captioner.
        decoding: The settings; the method does not matter.

    Raises:
        UserError: The captioner is an ensemble, the decoding is random,
            or more than one caption is wanted.
    """
    model = captioner.caption_generator.captioner
    _check(model, decoding)
    encoder, size = captioner.encoder.model, captioner.encoder.image_size
    image = tf.TensorSpec((1, size, size, 3), tf.uint8, "image")

    def encode(image):
        return {"annotations": model.encode(encoder(image, training=False))}

    def caption_by(method):
        settings = dataclasses.replace(decoding, method=method)

        def caption(image):
            encoded = _separated(encode(image)["annotations"])
            return _best(decode(_Decoder(model), encoded, settings))

        return caption

    start, step = _step_functions(model, decoding)
    annotations = _output_specs(encode, [image], ["annotations"])
    names = ["hidden", "cell", "scaled", "keys"]
    state = _output_specs(start, annotations, names)
    token = tf.TensorSpec((1,), tf.int32, "token")
    return {
        GREEDY: (caption_by("greedy"), [image]),
        BEAM: (caption_by("beam"), [image]),
        ENCODE: (encode, [image]),
        START_CAPTION: (start, annotations),
        STEP: (step, [token, *state]),
    }


def _step_functions(model: Captioner, decoding: Decoding):
    """Returns the functions of `start` and `step`."""

    def start(annotations):
        state, scaled, keys = model.start(_separated(annotations))
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
        words = ops.where(ops.equal(token, START), 0, decoding.min_words)
        log_p = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
        return {
            "log_probabilities": log_p
            + mask_tokens(model.vocabulary_size, words, decoding),
            **state._asdict(),
            "attention": attention,
            "gate": ops.mean(gate, axis=-1, keepdims=True),
        }

    return start, step


def _output_specs(
    function: Callable, inputs: list[tf.TensorSpec], names: list[str]
) -> list[tf.TensorSpec]:
    """Returns the specifications of a function's outputs."""
    traced = tf.function(function, autograph=False)
    outputs = traced.get_concrete_function(*inputs).structured_outputs
    return [
        tf.TensorSpec(outputs[name].shape, outputs[name].dtype, name)
        for name in names
    ]


class _Decoder:
    """What `decode` needs of a captioner, for annotations already encoded."""

    def __init__(self, captioner: Captioner):
        self.begin, self.step = captioner.start, captioner.step
        self.vocabulary_size = captioner.vocabulary_size


def _separated(annotations):
    """Keeps encoder and decoder separate; changes no number.

    Otherwise the converter folds the decoder's scale into the encoder's last
    convolution, which signatures then no longer share, and which is no longer
    the encoder's to quantise. And where the scale is one, `start` would
    return its input itself, for which LiteRT.js answers zeros.
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
            "A captioner on a device generates one caption, always the same. "
            "Expected --method=beam or greedy, --context_mode=expected or "
            f"peak, and --num_captions=1. Received: method={decoding.method}, "
            f"context_mode={decoding.context_mode}, "
            f"num_captions={decoding.num_captions}"
        )


def _best(captions: DecodedCaptions) -> dict:
    """Returns the best caption of an image, without its end."""
    tokens = captions.tokens[:, 0, :-1]
    is_word = ops.logical_and(
        ops.not_equal(tokens, PADDING), ops.not_equal(tokens, END)
    )
    mask = ops.cast(is_word, "float32")
    return {
        "tokens": ops.where(is_word, tokens, PADDING),
        "length": captions.lengths[:, 0],
        "finished": ops.cast(captions.finished[:, 0], "int32"),
        "log_probability": captions.log_probability[:, 0],
        "score": captions.score[:, 0],
        "attention": captions.attention[:, 0, :-1] * mask[..., None],
        "gate": captions.gate[:, 0, :-1] * mask,
    }
