"""What a captioner for devices answers, in a process that knows it alone.

Needs no TensorFlow, so that none can help.
"""

import concurrent.futures
import multiprocessing

import numpy as np

from pipelines.errors import UserError
from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner
from show_attend_tell.inference.tflite_file import (
    BEAM,
    ENCODE,
    GREEDY,
    START_CAPTION,
    STEP,
)


def fresh_answers(path: str, squares: np.ndarray) -> list[dict]:
    """Answers in a process of its own.

    Args:
        path: The file.
        squares: Images, uint8 `(N, S, S, 3)`.

    Returns:
        For each image what `greedy`, `beam` and `encode` give, by their
        names; and under `step` the tokens that greedy steps take, with the
        log-probability of the whole.

    Raises:
        UserError: The file cannot be loaded, or brings down its process.
    """
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(1, context) as pool:
        try:
            return pool.submit(_answers, path, squares).result()
        except concurrent.futures.BrokenExecutor as error:
            raise UserError(f"{path} brought down its process") from error


def _answers(path: str, squares: np.ndarray) -> list[dict]:
    captioner = TFLiteCaptioner(path)
    found = []
    for square in squares:
        answer = {}
        for name in (GREEDY, BEAM, ENCODE):
            run = captioner.interpreter.get_signature_runner(name)
            given = run(image=square[None])
            answer[name] = {key: value[0] for key, value in given.items()}
        annotations = answer[ENCODE]["annotations"][None]
        answer[STEP] = step_by_step(captioner, annotations)
        found.append(answer)
    return found


def step_by_step(captioner: TFLiteCaptioner, annotations: np.ndarray) -> dict:
    """Says the likeliest word at every step, as a host does.

    Args:
        captioner: The captioner.
        annotations: `(1, L, D)`, as `encode` gives them.

    Returns:
        `tokens`, the words, and `log_probability`.
    """
    settings = captioner.settings
    start = captioner.interpreter.get_signature_runner(START_CAPTION)
    step = captioner.interpreter.get_signature_runner(STEP)
    state = start(annotations=annotations)
    known = {name: state[name] for name in ("scaled", "keys")}
    token, tokens, total = settings.start, [], 0.0
    while True:
        answer = step(
            token=np.array([token], np.int32),
            hidden=state["hidden"],
            cell=state["cell"],
            **known,
        )
        state = answer
        token = int(answer["log_probabilities"][0].argmax())
        if token != settings.end and len(tokens) == settings.max_words:
            break
        total += float(answer["log_probabilities"][0, token])
        if token == settings.end:
            break
        tokens.append(token)
    return {"tokens": tokens, "log_probability": total}
