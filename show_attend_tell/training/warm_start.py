"""Starting from the best model of a finished run, on other data.

The old words keep their numbers and their weights; the words that the new
data adds stand behind them, with weights that know nothing yet. All else is
taken as it is. The optimizer, its schedule and the moving average of hard
attention, if there was none, start anew.
"""

import os

import keras
import numpy as np

from pipelines.cache.metadata import Metadata
from pipelines.errors import UserError
from pipelines.files import read_json
from pipelines.vocabulary import Vocabulary
from show_attend_tell.configs.run_config import RUN_OPTIONS, RunConfig
from show_attend_tell.inference.model_files import (
    METADATA_FILE,
    MODEL_FILE,
    VOCABULARY_FILE,
    file_digest,
    load_captioner,
)
from show_attend_tell.model import Captioner


def check_settings(config: RunConfig, workdir: str) -> None:
    """Checks that the weights of the old run have a place in the new one.

    Args:
        config: The settings of the new run; `warm_start` is the folder of
            the old one.
        workdir: The folder of the new run.

    Raises:
        UserError: They have not, the old run has no model yet, or it is the
            new one.
    """
    start = config.training.warm_start
    if os.path.realpath(start) == os.path.realpath(workdir):
        raise UserError(
            "Expected --warm_start to be the workdir of another run. "
            f"Received: {start!r} for both. Choose another --workdir."
        )
    differences = RunConfig.load(start).differences(config)
    path = os.path.join(start, MODEL_FILE)
    if not os.path.exists(path):
        raise UserError(
            "Expected --warm_start to be the workdir of a finished run, with "
            f"{MODEL_FILE}. Received: {start!r}. Let that training go on: "
            f"python -m show_attend_tell.train --workdir={start}"
        )
    other = [
        difference
        for flag, difference in differences.items()
        if RUN_OPTIONS[flag][1].metadata.get("fixed_by_weights")
        # The scale comes with the weights where none is given.
        and (flag != "annotation_scale" or config.model.annotation_scale)
    ]
    if other:
        raise UserError(
            f"The model in --warm_start={start} was trained with other "
            f"settings, and its weights fit no others. Give {', '.join(other)}"
        )


def check_annotations(config: RunConfig, annotations: Metadata) -> None:
    """Checks that the old run's annotations mean what the new run's do.

    Args:
        config: The settings of the new run.
        annotations: What its annotations are.

    Raises:
        UserError: They do not.
    """
    path = os.path.join(config.training.warm_start, METADATA_FILE)
    differences = Metadata.from_dict(read_json(path)).differences(annotations)
    if differences:
        raise UserError(
            f"The model in --warm_start={config.training.warm_start} was trained on "
            f"other annotations: {'; '.join(differences)}. Give the flags of "
            "that run: --encoder, --encoder_layer, --encoder_weights, "
            "--resize_mode, --precision, --finetune."
        )


def known_words(config: RunConfig, workdir: str) -> Vocabulary:
    """Returns the words to which the new run adds those of its data.

    Args:
        config: Its settings.
        workdir: Its folder.

    Raises:
        UserError: They cannot be read.
    """
    own = os.path.join(workdir, VOCABULARY_FILE)
    if os.path.exists(own):  # It was begun before.
        return Vocabulary.load(own)
    return Vocabulary.load(
        os.path.join(config.training.warm_start, VOCABULARY_FILE)
    )


def take_weights(
    config: RunConfig, captioner: Captioner, vocabulary: Vocabulary
) -> str:
    """Gives a new captioner the weights of the old run's best model.

    Args:
        config: The settings of the new run.
        captioner: Its model; changed.
        vocabulary: Its words, the old run's first.

    Returns:
        The SHA-256 of the file of the old model.

    Raises:
        UserError: The old model cannot be loaded, or does not fit.
    """
    start = config.training.warm_start
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
    """Copies all weights and the scale, layer by layer, words by number.

    A layer that only the new model has keeps its weights, as do the words
    that only the new model knows.

    Raises:
        UserError: A trained layer has no place in the new model.
    """
    new.copy_annotation_scale(old)
    homes = {layer.name: layer for layer in new.layers}
    words = (old.vocabulary_size, new.vocabulary_size)
    for layer in old.layers:
        home = homes.get(layer.name)
        if home is None and not layer.trainable_variables:
            continue  # The moving average of hard attention.
        if home is None or not _fits(layer, home, words):
            raise UserError(
                f"The old model's layer {layer.name!r} has no place in the "
                "new one. Give the flags of the old run."
            )
        for source, target in zip(layer.weights, home.weights, strict=True):
            values = np.array(keras.ops.convert_to_numpy(target))
            values[tuple(slice(size) for size in source.shape)] = source
            target.assign(values)


def _fits(old: keras.Layer, new: keras.Layer, words: tuple[int, int]) -> bool:
    """Tells whether weights differ in nothing but the number of words."""
    shapes = ([w.shape for w in layer.weights] for layer in (old, new))
    return len(old.weights) == len(new.weights) and all(
        len(one) == len(other)
        and all(
            sizes == words or sizes[0] == sizes[1]
            for sizes in zip(one, other, strict=True)
        )
        for one, other in zip(*shapes, strict=True)
    )
