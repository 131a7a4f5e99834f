"""Answers of a TFLite captioner in a fresh process, without TensorFlow."""

import numpy as np

from pipelines.errors import UserError
from pipelines.processes import call_in_process
from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner
from show_attend_tell.inference.tflite_file import (
    BEAM,
    ENCODE,
    GREEDY,
    START_CAPTION,
    STEP,
)


def fresh_answers(path: str, squares: np.ndarray) -> list[dict]:
    """Runs all signatures on images, in a process that only has the file.

    Args:
        path: The file.
        squares: Images, uint8 `(N, S, S, 3)`.

    Returns:
        For each image the outputs of `greedy`, `beam` and `encode`, by their
        names; and under `step` those of `greedy_by_steps`.

    Raises:
        UserError: The file cannot be loaded, or crashes its process.
    """
    try:
        return call_in_process(_answers, path, squares)
    except ChildProcessError as error:
        raise UserError(f"{path} brought down its process") from error


def _answers(path: str, squares: np.ndarray) -> list[dict]:
    captioner = TFLiteCaptioner(path)
    answers = []
    for square in squares:
        answer = {
            name: captioner.run(name, image=square[None])
            for name in (GREEDY, BEAM, ENCODE)
        }
        answer[STEP] = greedy_by_steps(captioner, **answer[ENCODE])
        answers.append(answer)
    return answers


def greedy_by_steps(
    captioner: TFLiteCaptioner, annotations: np.ndarray
) -> dict:
    """Decodes greedily by calling `step` for every word, as a host does.

    Args:
        captioner: The captioner.
        annotations: `(1, L, D)`, from `encode`.

    Returns:
        `tokens` of the words, and `log_probability`.
    """
    settings = captioner.settings
    state = captioner.run(START_CAPTION, annotations=annotations)
    token, tokens, total = settings.start, [], 0.0
    while True:
        previous = np.array([token], np.int32)
        outputs = captioner.run(STEP, token=previous, **state)
        state |= {name: outputs[name] for name in ("hidden", "cell")}
        log_probabilities = outputs["log_probabilities"][0]
        token = int(log_probabilities.argmax())
        if token != settings.end and len(tokens) == settings.max_words:
            break
        total += float(log_probabilities[token])
        if token == settings.end:
            break
        tokens.append(token)
    return {"tokens": tokens, "log_probability": total}
