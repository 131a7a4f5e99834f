"""The model files of a run: loading them, and checking that they belong."""

import os
from collections.abc import Sequence

import keras

from pipelines.cache.metadata import Metadata
from pipelines.errors import UserError
from pipelines.files import read_json
from pipelines.vocabulary import Vocabulary
from show_attend_tell.configs.run_files import check_run
from show_attend_tell.decoding.ensemble import Ensemble
from show_attend_tell.model import Captioner

MODEL_FILE = "best.keras"
VOCABULARY_FILE = "vocabulary.txt"
METADATA_FILE = "encoder.json"


def load_captioner(workdir: str) -> tuple[Captioner, Vocabulary]:
    """Loads the best model of a run and its vocabulary.

    Raises:
        UserError: One is missing, or they do not belong together.
    """
    check_run(workdir, VOCABULARY_FILE, MODEL_FILE)
    path = os.path.join(workdir, MODEL_FILE)
    vocabulary = Vocabulary.load(os.path.join(workdir, VOCABULARY_FILE))
    captioner = load_model(path)
    check_vocabulary(captioner, vocabulary, path)
    return captioner, vocabulary


def load_ensemble(
    workdir: str, others: Sequence[str]
) -> tuple[Captioner | Ensemble, Vocabulary]:
    """Loads the best model of a run and those that decode together with it.

    Args:
        workdir: The folder of the run.
        others: Folders of other runs, or `.keras` files in a run's folder or
            its `epochs`. If empty, the run's model is returned, no ensemble.

    Raises:
        UserError: A file is missing or damaged, or a model was trained with
            another vocabulary or on other annotations.
    """
    captioner, vocabulary = load_captioner(workdir)
    if not others:
        return captioner, vocabulary
    trained_on = load_metadata(workdir)
    members = [captioner]
    for path in member_files(workdir, others)[1:]:
        run = _run_of(path)
        check_run(run, os.path.relpath(path, run))
        member = load_model(path)
        if member.vocabulary_digest != vocabulary.digest:
            raise UserError(
                f"Expected models with the words of {workdir}. Received: "
                f"{path}, which was trained with other words. Let it start "
                f"from that run's with --warm_start, or leave it out."
            )
        differences = trained_on.differences(load_metadata(run))
        if differences:
            raise UserError(
                f"Expected models that were trained on the annotations of "
                f"{workdir}. Received: {path}: {'; '.join(differences)}. "
                "Leave it out."
            )
        members.append(member)
    return Ensemble(members), vocabulary


def member_files(workdir: str, others: Sequence[str]) -> list[str]:
    """Returns the files of an ensemble's models, that of the run first."""
    return [
        os.path.join(path, MODEL_FILE) if os.path.isdir(path) else path
        for path in (workdir, *others)
    ]


def load_metadata(workdir: str) -> Metadata:
    """Reads what the model of a run was trained on.

    Raises:
        UserError: The file is missing, or not the one of that run.
    """
    check_run(workdir, METADATA_FILE)
    path = os.path.join(workdir, METADATA_FILE)
    values = read_json(path)
    try:
        return Metadata.from_dict(values)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _run_of(path: str) -> str:
    """Returns the folder of a model's run: that of its file, or one above."""
    folder = os.path.dirname(os.path.abspath(path))
    for parent in (folder, os.path.dirname(folder)):
        if os.path.exists(os.path.join(parent, METADATA_FILE)):
            return parent
    raise UserError(
        f"Expected a model in the folder of its run, with {METADATA_FILE}. "
        f"Received: {path}"
    )


def load_model(path: str, kind: type[keras.Model] = Captioner):
    """Loads a `.keras` file in safe mode.

    Args:
        path: The file.
        kind: The class of the model in it.

    Raises:
        UserError: It is missing, damaged, or of another class.
    """
    try:
        model = keras.saving.load_model(path, safe_mode=True)
    except Exception as error:  # Keras raises many kinds at damaged files.
        reason = (str(error).strip().splitlines() or [repr(error)])[0]
        raise UserError(
            f"The model {path} cannot be loaded: {reason} Train again, or "
            "put the file back."
        ) from error
    if not isinstance(model, kind):
        raise UserError(
            f"Expected {path} to hold a {kind.__name__}. "
            f"Received: a {type(model).__name__}"
        )
    return model


def check_vocabulary(
    captioner: Captioner, vocabulary: Vocabulary, path: str
) -> None:
    """Raises UserError unless a model was trained with this vocabulary."""
    if captioner.vocabulary_digest != vocabulary.digest:
        raise UserError(
            f"{VOCABULARY_FILE} does not hold the words that {path} was "
            "trained with. Put the file of that training back."
        )
