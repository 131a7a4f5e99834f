"""Checks a TFLite captioner against the Keras captioner it was made of."""

import dataclasses
import itertools
import os
import pathlib
from collections.abc import Sequence

import numpy as np

from pipelines.errors import UserError
from pipelines.images.decoding import Photo, fit_image, load_image
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.exporting.tflite_worker import fresh_answers
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.tflite_captioner import (
    TFLiteCaptioner,
    load_interpreter,
)
from show_attend_tell.inference.tflite_file import (
    BEAM,
    ENCODE,
    GREEDY,
    START_CAPTION,
    STEP,
)
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

_ATTENTION_TOLERANCE = 1e-5
_TOLERANCE = 1e-4  # Of annotations and log-probabilities, relative.
# Bytes of a weight. Small tensors and embeddings keep more of them.
_BYTES = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
_REFUSED = {"CUSTOM", "DELEGATE", "VAR_HANDLE"}


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How a file's captions agree with those of Keras, on some photos.

    Attributes:
        photos: How many.
        greedy: The share of them with the same greedy caption.
        beam: The share with the same caption by beam search.
        words: The share of words that are the same at the same position, of
            the longer caption, by beam search.
        attention: The greatest difference in attention where beam search
            gave the same caption.
        log_probability: The same of log-probabilities.
        steps: The share for which the caller's steps give the tokens of
            `greedy`, with about the same probability.
    """

    photos: int
    greedy: float
    beam: float
    words: float
    attention: float
    log_probability: float
    steps: float

    def __str__(self):
        return (
            f"{self.photos} images: captions as Keras's {self.greedy:.1%} "
            f"greedily, {self.beam:.1%} by beam search ({self.words:.1%} of "
            f"its words); where they are, attention differs by at most "
            f"{self.attention:.1e}, log-probability by "
            f"{self.log_probability:.1e}; steps as `greedy` {self.steps:.1%}"
        )


def check(
    path: str,
    captioner: WorkdirCaptioner,
    decoding: Decoding,
    precision: str,
    photos: dict[str, Sequence[Photo]],
) -> dict[str, Agreement]:
    """Checks a file against the captioner that it was made of.

    A separate process, without TensorFlow, captions photos with every
    signature. In float32 captions must equal Keras's; for other precisions
    it is reported how often they do. In float32 and float16 the caller's
    steps must give the tokens of `greedy`.

    Args:
        path: The file.
        captioner: What it was made of.
        decoding: Its settings.
        precision: Of the file.
        photos: The photos, in groups by name.

    Returns:
        The agreement on each group.

    Raises:
        UserError: It has operations that devices may lack or is not of a
            plausible size, cannot be loaded, or answers otherwise.
    """
    _check_graphs(path)
    _check_size(path, captioner, precision)
    squares = squares_of(captioner, list(itertools.chain(*photos.values())))
    answers = fresh_answers(path, squares)
    for answer in answers:
        _check_answer(answer, decoding)
    device, agreements, first = TFLiteCaptioner(path), {}, 0
    for name, group in photos.items():
        part = answers[first : first + len(group)]
        agreements[name] = _agreement(device, captioner, decoding, group, part)
        first += len(group)
    # `step` applies no other constraints. In 8 bits rounding turns a change
    # of 1e-7 into one of 1e-2, so there it is reported and not required.
    simple = decoding.min_words <= 1 and not decoding.no_repeat_ngram_size
    for name, agreement in agreements.items():
        stepped = simple and precision in ("float32", "float16")
        if stepped and agreement.steps < 1:
            raise _failure(f"its steps differ on {name}, {agreement}")
        if precision == "float32":
            _check_exact(name, agreement)
    if precision == "float32":
        _check_annotations(answers, squares, captioner)
    return agreements


def squares_of(
    captioner: WorkdirCaptioner, photos: Sequence[Photo]
) -> np.ndarray:
    """Returns photos as the encoder takes them, uint8 `(N, S, S, 3)`."""
    size = captioner.encoder.image_size
    resize_mode = captioner.caption_generator.resize_mode
    return np.stack(
        [fit_image(load_image(photo), size, resize_mode) for photo in photos]
    )


def operations(path: str) -> set[str]:
    """Returns the names of all operations in a TFLite file."""
    from ai_edge_litert import schema_py_generated as schema

    names = {
        code: name
        for name, code in vars(schema.BuiltinOperator).items()
        if isinstance(code, int)
    }
    with open(path, "rb") as file:
        model = schema.Model.GetRootAs(file.read(), 0)
    codes = map(model.OperatorCodes, range(model.OperatorCodesLength()))
    # Older files have the smaller numbers in another field.
    return {
        names[max(c.BuiltinCode(), c.DeprecatedBuiltinCode())] for c in codes
    }


def passed_through(path: str) -> list[str]:
    """Returns the signatures of which an output is an input, unchanged.

    LiteRT runs them; LiteRT.js answers garbage without an error.
    """
    content = pathlib.Path(path).read_bytes()
    interpreter = load_interpreter(content, path)
    runner = interpreter.get_signature_runner
    return [
        name
        for name in (GREEDY, BEAM, ENCODE, START_CAPTION, STEP)
        if _tensors(runner(name).get_input_details())
        & _tensors(runner(name).get_output_details())
    ]


def _tensors(details: dict) -> set[int]:
    return {one["index"] for one in details.values()}


def _check_graphs(path: str) -> None:
    refused = sorted(operations(path) & _REFUSED)
    if refused:
        raise _failure(f"it has operations that devices lack: {refused}")
    signatures = passed_through(path)
    if signatures:
        raise _failure(f"an output of {signatures} is one of its inputs")


def _check_size(path: str, captioner: WorkdirCaptioner, precision: str) -> None:
    """Checks that weights are there, each once."""
    model = captioner.caption_generator.captioner
    parts = [captioner.encoder.model, model.embedding, model.initial_state]
    parts += [model.decoder, model.output_layer]
    parts += [model.encoder] if model.encoder is not None else []
    weights = sum(
        int(np.prod(weight.shape)) for part in parts for weight in part.weights
    )
    size, least = os.path.getsize(path), weights * _BYTES[precision]
    # Normalisation is folded into other weights; five graphs, each about
    # 0.1 MB, come on top, and embeddings in float32.
    most = 1.2 * least + 4 * int(np.prod(model.embedding.embeddings.shape))
    if not 0.9 * least < size < most + 2**20:
        raise _failure(
            f"it has {size} bytes, for {weights} weights in {precision}"
        )


def _check_answer(answer: dict, decoding: Decoding) -> None:
    for method in (GREEDY, BEAM):
        outputs = {name: value[0] for name, value in answer[method].items()}
        is_word = np.arange(decoding.max_words) < int(outputs["length"])
        sums = outputs["attention"].sum(axis=-1)
        if (
            not np.array_equal(outputs["tokens"] > 0, is_word)
            or not np.allclose(sums, is_word, atol=1e-3)
            or not -np.inf < outputs["log_probability"] <= 0
        ):
            raise _failure(f"{method} answers {outputs}")


def _agreement(
    device: TFLiteCaptioner,
    captioner: WorkdirCaptioner,
    decoding: Decoding,
    photos: Sequence[Photo],
    answers: list[dict],
) -> Agreement:
    """Compares the file's captions of photos with those of Keras."""
    pairs = {}
    for method in (GREEDY, BEAM):
        settings = dataclasses.replace(decoding, method=method)
        expected = captioner.stream(photos, **dataclasses.asdict(settings))
        captions = (device.parse(answer[method]) for answer in answers)
        pairs[method] = list(zip(captions, expected, strict=True))
    equal = [(a, b) for a, b in pairs[BEAM] if _are_equal(a, b)]
    words = sum(
        x == y
        for a, b in pairs[BEAM]
        for x, y in zip(a.words, b.words, strict=False)
    )
    longest = sum(max(len(a.words), len(b.words)) for a, b in pairs[BEAM])
    steps = [
        tuple(device.vocabulary.decode(answer[STEP]["tokens"])) == greedy.words
        and np.isclose(
            answer[STEP]["log_probability"], greedy.log_probability, rtol=1e-3
        )
        for answer, (greedy, _) in zip(answers, pairs[GREEDY], strict=True)
    ]
    return Agreement(
        photos=len(photos),
        greedy=float(np.mean([_are_equal(a, b) for a, b in pairs[GREEDY]])),
        beam=len(equal) / len(photos),
        words=words / max(longest, 1),
        attention=max(
            (_difference(a.attention, b.attention) for a, b in equal),
            default=0.0,
        ),
        log_probability=max(
            (abs(a.log_probability - b.log_probability) for a, b in equal),
            default=0.0,
        ),
        steps=float(np.mean(steps)),
    )


def _are_equal(one: Caption, other: Caption) -> bool:
    return (one.words, one.finished) == (other.words, other.finished)


def _check_exact(name: str, agreement: Agreement) -> None:
    if (
        min(agreement.greedy, agreement.beam) < 1
        or agreement.attention > _ATTENTION_TOLERANCE
        or agreement.log_probability > 10 * _TOLERANCE
    ):
        raise _failure(f"it does not equal Keras on {name}, {agreement}")


def _check_annotations(answers, squares, captioner: WorkdirCaptioner) -> None:
    encoded = captioner.encoder.model.predict_on_batch(squares)
    model = captioner.caption_generator.captioner
    expected = np.asarray(model.encode(encoded))
    actual = np.concatenate(
        [answer[ENCODE]["annotations"] for answer in answers]
    )
    difference = _difference(actual, expected)
    if difference > _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise _failure(f"its annotations differ by {difference:.2g}")


def _difference(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(one - other), initial=0))


def _failure(reason: str) -> UserError:
    return UserError(
        f"The export is not fit for devices: {reason}. Nothing was written."
    )
