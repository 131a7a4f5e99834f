"""The model files that a run writes.

`last.keras` is the trainer, with the optimizer: a run goes on from it.
`best.keras` and those in `epochs` are captioners, for all other uses.
"""

import os

import keras

from pipelines.checksums import remove, replacing
from show_attend_tell.inference.model_files import MODEL_FILE

CHECKPOINT_FILE = "last.keras"
EPOCHS_FOLDER = "epochs"


def is_begun(workdir: str) -> bool:
    """Whether a run has a model, and so must keep its configuration."""
    names = CHECKPOINT_FILE, MODEL_FILE
    return any(os.path.exists(os.path.join(workdir, name)) for name in names)


def save_model(model: keras.Model, workdir: str, name: str) -> None:
    """Writes a `.keras` file of a run, or leaves the one that is there."""
    with replacing(workdir, name) as temporary:
        model.save(temporary)


def keep_epoch(model: keras.Model, workdir: str, epoch: int, keep: int) -> None:
    """Writes `epochs/NN.keras` and removes all but the last `keep` of them."""
    if not keep:
        return
    save_model(model, workdir, f"{EPOCHS_FOLDER}/{epoch:02d}.keras")
    for older in range(epoch + 1 - keep):
        remove(workdir, f"{EPOCHS_FOLDER}/{older:02d}.keras")
