"""Starting from the best model of a finished run, on other data.

The old words keep their numbers and their weights; words that the new data
adds come after them, with newly initialised weights. The optimizer and its
schedule start anew.
"""

import os

import keras
import numpy as np

from pipelines.cache.metadata import Metadata
from pipelines.checksums import file_digest
from pipelines.errors import UserError
from pipelines.vocabulary import Vocabulary
from show_attend_tell.configs.run_config import RUN_OPTIONS, RunConfig
from show_attend_tell.configs.run_files import check_run
from show_attend_tell.inference.model_files import (
    MODEL_FILE,
    VOCABULARY_FILE,
    load_captioner,
    load_metadata,
)
from show_attend_tell.model import Captioner
from show_attend_tell.training.checkpoints import is_begun


def check_start(config: RunConfig, workdir: str) -> None:
    """Checks that a new run can take the weights of the old one.

    Args:
        config: The configuration of the new run, with `warm_start`.
        workdir: The folder of the new run.

    Raises:
        UserError: It cannot, the old run has no model yet, or it is the same.
    """
    start = config.training.warm_start
    if os.path.realpath(start) == os.path.realpath(workdir):
        raise UserError(
            "Expected --warm_start to be the workdir of another run. "
            f"Received: {start!r} for both. Choose another --workdir."
        )
    differences = RunConfig.load(start).differences(config)
    if not os.path.exists(os.path.join(start, MODEL_FILE)):
        raise UserError(
            "Expected --warm_start to be the workdir of a finished run, with "
            f"{MODEL_FILE}. Received: {start!r}. Let that training go on: "
            f"python -m show_attend_tell.train --workdir={start}"
        )
    fixed = [
        difference
        for flag, difference in differences.items()
        if RUN_OPTIONS[flag][1].metadata.get("fixed_by_weights")
        # The scale comes with the weights where none is given.
        and (flag != "annotation_scale" or config.model.annotation_scale)
    ]
    if fixed:
        raise UserError(
            f"The model in --warm_start={start} was trained with other "
            f"settings, and its weights fit no others. Give {', '.join(fixed)}"
        )


def check_annotations(config: RunConfig, annotations: Metadata) -> None:
    """Checks that the new run's annotations are of the old run's kind.

    Raises:
        UserError: They are not.
    """
    start = config.training.warm_start
    differences = load_metadata(start).differences(annotations)
    if differences:
        raise UserError(
            f"The model in --warm_start={start} was trained on other "
            f"annotations: {'; '.join(differences)}. Give the flags of that "
            "run: --encoder, --encoder_layer, --encoder_weights, "
            "--resize_mode, --precision, --finetune."
        )


def starting_vocabulary(config: RunConfig, workdir: str) -> Vocabulary:
    """Returns the words to which the new run adds those of its data."""
    run = workdir if is_begun(workdir) else config.training.warm_start
    check_run(run, VOCABULARY_FILE)
    return Vocabulary.load(os.path.join(run, VOCABULARY_FILE))


def start_from(start: str, captioner: Captioner, vocabulary: Vocabulary) -> str:
    """Gives a new captioner the weights of an old run's best model.

    Args:
        start: The folder of the old run.
        captioner: The new captioner; is changed.
        vocabulary: Its words, the old run's first.

    Returns:
        The SHA-256 of the file of the old model.

    Raises:
        UserError: The old model cannot be loaded, or does not fit.
    """
    old, words = load_captioner(start)
    if vocabulary.words[: len(words)] != words.words:
        raise UserError(
            f"The words in --warm_start={start} have changed since this run "
            "began. Choose another --workdir."
        )
    copy_weights(old, captioner)
    added = len(vocabulary) - len(words)
    print(f"starts from {start}: {len(words)} words, and {added} new ones")
    return file_digest(os.path.join(start, MODEL_FILE))


def copy_weights(old: Captioner, new: Captioner) -> None:
    """Copies weights and `annotation_scale`; words are copied by number.

    A layer that only the new captioner has keeps its weights, as do the words
    that only it has.

    Raises:
        UserError: A layer of the old captioner does not fit the new one.
    """
    new.annotation_scale = old.annotation_scale
    layers = {layer.name: layer for layer in new.layers}
    sizes = (old.vocabulary_size, new.vocabulary_size)
    for source in old.layers:
        target = layers.get(source.name)
        if target is None or not _fits(source, target, sizes):
            raise UserError(
                f"The old model's layer {source.name!r} has no place in the "
                "new one. Give the flags of the old run."
            )
        for weight, home in zip(source.weights, target.weights, strict=True):
            values = np.array(keras.ops.convert_to_numpy(home))
            values[tuple(slice(size) for size in weight.shape)] = weight
            home.assign(values)


def _fits(
    old: keras.Layer, new: keras.Layer, vocabulary_sizes: tuple[int, int]
) -> bool:
    """Tells whether weights differ in nothing but the number of words."""
    shapes = [[weight.shape for weight in x.weights] for x in (old, new)]
    return [len(s) for s in shapes[0]] == [len(s) for s in shapes[1]] and all(
        a == b or (a, b) == vocabulary_sizes
        for one, other in zip(*shapes, strict=True)
        for a, b in zip(one, other, strict=True)
    )
