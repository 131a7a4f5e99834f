"""The model files that a run writes.

`last.keras` is the trainer, with the optimizer: a run goes on from it.
`best.keras` and those in `epochs` are captioners, for all other uses.
"""

import os

import keras

from show_attend_tell.inference.model_files import MODEL_FILE, load_model
from show_attend_tell.model import Captioner
from show_attend_tell.training.train_step import CaptionerTrainer

CHECKPOINT_FILE = "last.keras"
EPOCHS_FOLDER = "epochs"


def save_model(model: keras.Model, path: str) -> None:
    """Writes a `.keras` file, or leaves the one that is there."""
    temporary = f"{path.removesuffix('.keras')}.tmp-{os.getpid()}.keras"
    try:
        model.save(temporary)
        os.replace(temporary, path)
    finally:
        if os.path.exists(temporary):
            os.remove(temporary)


def has_checkpoint(workdir: str) -> bool:
    """Tells whether a run has written a checkpoint."""
    return os.path.exists(os.path.join(workdir, CHECKPOINT_FILE))


def save_checkpoint(trainer: CaptionerTrainer, workdir: str) -> None:
    """Writes `last.keras`."""
    save_model(trainer, os.path.join(workdir, CHECKPOINT_FILE))


def load_checkpoint(workdir: str) -> CaptionerTrainer:
    """Reads `last.keras`.

    Raises:
        UserError: It cannot be loaded.
    """
    path = os.path.join(workdir, CHECKPOINT_FILE)
    return load_model(path, CaptionerTrainer)


def save_best(captioner: Captioner, workdir: str) -> None:
    """Writes `best.keras`."""
    save_model(captioner, os.path.join(workdir, MODEL_FILE))


def keep_epoch(captioner: Captioner, workdir: str, epoch: int, keep: int):
    """Writes `epochs/NN.keras` and removes all but the last `keep` of them."""
    if not keep:
        return
    folder = os.path.join(workdir, EPOCHS_FOLDER)
    os.makedirs(folder, exist_ok=True)
    save_model(captioner, os.path.join(folder, f"{epoch:02d}.keras"))
    for older in range(epoch + 1 - keep):
        path = os.path.join(folder, f"{older:02d}.keras")
        if os.path.exists(path):
            os.remove(path)
