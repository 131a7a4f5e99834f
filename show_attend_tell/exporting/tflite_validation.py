"""What a file for devices must show before it is there."""

import dataclasses
import os
from collections.abc import Sequence

import numpy as np

from pipelines.errors import UserError
from pipelines.images.decoding import Photo, fit_image, load_image
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.exporting.tflite_worker import fresh_answers
from show_attend_tell.inference.tflite_captioner import interpreter_of
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
# Bytes of a weight. What is small, or looked up, stays in more of them.
_BYTES = {"float32": 4, "float16": 2, "dynamic": 1, "int8": 1}
_REFUSED = ("CUSTOM", "DELEGATE", "VAR_HANDLE")


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How a file's captions agree with those of Keras, on some photos.

    Attributes:
        photos: How many.
        greedy: The share of them with the same greedy caption.
        beam: The share with the same caption by beam search.
        words: The share of words that are the same at the same place, of
            the longer caption, by beam search.
        attention: The greatest difference in attention where beam search
            gave the same caption.
        log_probability: The same of log-probabilities.
        steps: The share whose steps say what `greedy` says, with about the
            same probability.
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

    A process of its own, without TensorFlow, captions photos with every
    signature. float32 must say Keras's words; of other precisions it is told
    how often they do. In float32 and float16 steps must say what `greedy`
    says.

    Args:
        path: The file.
        captioner: What it was made of.
        decoding: How it says captions.
        precision: Of the file.
        photos: The photos, in groups by name.

    Returns:
        The agreement on each group.

    Raises:
        UserError: It has operations that devices may lack or is not of a
            plausible size, cannot be loaded, or does not answer as it should.
    """
    _check_graphs(path)
    _check_size(path, captioner, precision)
    size, resize_mode = (
        captioner.encoder.image_size,
        captioner.caption_generator.resize_mode,
    )
    everything = [photo for group in photos.values() for photo in group]
    squares = np.stack(
        [fit_image(load_image(p), size, resize_mode) for p in everything]
    )
    answers = fresh_answers(path, squares)
    for answer in answers:
        _check_answer(answer, decoding)
    expected = {
        method: captioner.caption(
            everything,
            **dataclasses.asdict(dataclasses.replace(decoding, method=method)),
        )
        for method in (GREEDY, BEAM)
    }
    said = {m: [_Said.of(a[m]) for a in answers] for m in expected}
    wanted = {
        method: [_Said.by_keras(c, captioner) for c in captions]
        for method, captions in expected.items()
    }
    agreements, first = {}, 0
    for name, group in photos.items():
        own = slice(first, first + len(group))
        agreements[name] = _agreement(
            {method: all[own] for method, all in said.items()},
            {method: all[own] for method, all in wanted.items()},
            [_steps_agree(answer) for answer in answers[own]],
        )
        first += len(group)
    # Constraints beyond these are left to whoever takes the steps. In 8 bits
    # rounding turns a change of 1e-7 into one of 1e-2: told, not required.
    plain = decoding.min_words <= 1 and not decoding.no_repeat_ngram_size
    if plain and precision in ("float32", "float16"):
        for name, agreement in agreements.items():
            if agreement.steps < 1:
                raise _failure(f"its steps are others on {name}, {agreement}")
    if precision == "float32":
        for name, agreement in agreements.items():
            _check_exact(name, agreement)
        _check_annotations(answers, squares, captioner)
    return agreements


@dataclasses.dataclass(frozen=True)
class _Said:
    tokens: tuple[int, ...]
    finished: bool
    attention: np.ndarray  # (words, L)
    log_probability: float

    @classmethod
    def of(cls, answer: dict) -> "_Said":
        length = int(answer["length"])
        return cls(
            tokens=tuple(answer["tokens"][:length].tolist()),
            finished=bool(answer["finished"]),
            attention=answer["attention"][:length],
            log_probability=float(answer["log_probability"]),
        )

    @classmethod
    def by_keras(cls, caption, captioner: WorkdirCaptioner) -> "_Said":
        numbers = captioner.caption_generator.vocabulary.numbers(caption.words)
        return cls(
            tokens=tuple(numbers),
            finished=caption.finished,
            attention=caption.attention.reshape(len(caption.words), -1),
            log_probability=caption.log_probability,
        )

    def same(self, other: "_Said") -> bool:
        return (self.tokens, self.finished) == (other.tokens, other.finished)


def operations(path: str) -> set[str]:
    """Returns the names of all operations in a TFLite file.

    Args:
        path: The file.
    """
    from ai_edge_litert import schema_py_generated as schema

    names = {
        code: name
        for name, code in vars(schema.BuiltinOperator).items()
        if isinstance(code, int)
    }
    with open(path, "rb") as file:
        model = schema.Model.GetRootAs(file.read(), 0)
    codes = map(model.OperatorCodes, range(model.OperatorCodesLength()))
    # Older files have the smaller numbers in a field of their own.
    return {
        names[max(c.BuiltinCode(), c.DeprecatedBuiltinCode())] for c in codes
    }


def passed_through(path: str) -> list[str]:
    """Returns the signatures of which an output is an input, unchanged.

    LiteRT runs them; LiteRT.js answers garbage without a word.

    Args:
        path: The file.
    """
    runner = interpreter_of(path).get_signature_runner
    return [
        name
        for name in (GREEDY, BEAM, ENCODE, START_CAPTION, STEP)
        if _tensors(runner(name).get_input_details())
        & _tensors(runner(name).get_output_details())
    ]


def _tensors(details: dict) -> set[int]:
    return {one["index"] for one in details.values()}


def _check_graphs(path: str) -> None:
    odd = sorted(operations(path) & set(_REFUSED))
    if odd:
        raise _failure(f"it has operations that devices lack: {odd}")
    odd = passed_through(path)
    if odd:
        raise _failure(f"an output of {odd} is one of its inputs")


def _check_size(path: str, captioner: WorkdirCaptioner, precision: str) -> None:
    """Checks that weights are there, each once."""
    model = captioner.caption_generator.captioner
    parts = [captioner.encoder.model, model.embedding, model.initial_state]
    parts += [model.decoder, model.output_layer]
    parts += [model.encoder] if model.encoder is not None else []
    weights = sum(
        int(np.prod(weight.shape)) for part in parts for weight in part.weights
    )
    size, fewest = os.path.getsize(path), weights * _BYTES[precision]
    # Normalisation is folded into what it follows; five graphs, each about
    # 0.1 MB, come on top, and words that are looked up in float32.
    most = 1.2 * fewest + 4 * int(np.prod(model.embedding.embeddings.shape))
    if not 0.9 * fewest < size < most + 2**20:
        raise _failure(
            f"it has {size} bytes, for {weights} weights in {precision}"
        )


def _check_answer(answer: dict, decoding: Decoding) -> None:
    for method in (GREEDY, BEAM):
        given = answer[method]
        length = int(given["length"])
        spoken = np.arange(decoding.max_words) < length
        sums = given["attention"].sum(axis=-1)
        if (
            not np.array_equal(given["tokens"] > 0, spoken)
            or not np.allclose(sums, spoken, atol=1e-3)
            or not -np.inf < given["log_probability"] <= 0
        ):
            raise _failure(f"{method} answers {given}")


def _steps_agree(answer: dict) -> bool:
    """Whether greedy steps say what `greedy` says."""
    greedy, stepped = _Said.of(answer[GREEDY]), answer[STEP]
    return tuple(stepped["tokens"]) == greedy.tokens and bool(
        np.isclose(
            stepped["log_probability"], greedy.log_probability, rtol=1e-3
        )
    )


def _agreement(said: dict, wanted: dict, steps: list[bool]) -> Agreement:
    same = {
        method: [
            one.same(other)
            for one, other in zip(said[method], wanted[method], strict=True)
        ]
        for method in said
    }
    beams = list(zip(said[BEAM], wanted[BEAM], strict=True))
    alike = [pair for pair in beams if pair[0].same(pair[1])]
    words = sum(
        x == y
        for a, b in beams
        for x, y in zip(a.tokens, b.tokens, strict=False)
    )
    longest = sum(max(len(a.tokens), len(b.tokens)) for a, b in beams)
    return Agreement(
        photos=len(beams),
        greedy=float(np.mean(same[GREEDY])),
        beam=float(np.mean(same[BEAM])),
        words=words / max(longest, 1),
        attention=max(
            (_apart(a.attention, b.attention) for a, b in alike), default=0.0
        ),
        log_probability=max(
            (abs(a.log_probability - b.log_probability) for a, b in alike),
            default=0.0,
        ),
        steps=float(np.mean(steps)),
    )


def _check_exact(name: str, agreement: Agreement) -> None:
    if (
        min(agreement.greedy, agreement.beam) < 1
        or agreement.attention > _ATTENTION_TOLERANCE
        or agreement.log_probability > 10 * _TOLERANCE
    ):
        raise _failure(f"it is not Keras's equal on {name}, {agreement}")


def _check_annotations(answers, squares, captioner: WorkdirCaptioner) -> None:
    given = captioner.encoder.model.predict_on_batch(squares)
    expected = np.asarray(captioner.caption_generator.captioner.encode(given))
    found = np.stack([answer[ENCODE]["annotations"] for answer in answers])
    apart = _apart(found, expected)
    if apart > _TOLERANCE * max(1.0, float(np.abs(expected).max())):
        raise _failure(f"its annotations differ by {apart:.2g}")


def _apart(one: np.ndarray, other: np.ndarray) -> float:
    return float(np.max(np.abs(one - other), initial=0))


def _failure(reason: str) -> UserError:
    return UserError(
        f"The export is not fit for devices: {reason}. Nothing was written."
    )
