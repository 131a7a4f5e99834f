"""The model files that a run writes.

`last.keras` is the trainer, with the optimizer: a run goes on from it.
`best.keras` and those in `epochs` are captioners, for all other uses.
"""

import os

import keras

from pipelines.files import replacing

CHECKPOINT_FILE = "last.keras"
EPOCHS_FOLDER = "epochs"


def save_model(model: keras.Model, *path: str) -> None:
    """Writes a `.keras` file, or leaves the one that is there."""
    with replacing(os.path.join(*path)) as temporary:
        model.save(temporary)


def keep_epoch(model: keras.Model, workdir: str, epoch: int, keep: int) -> None:
    """Writes `epochs/NN.keras` and removes all but the last `keep` of them."""
    if not keep:
        return
    folder = os.path.join(workdir, EPOCHS_FOLDER)
    os.makedirs(folder, exist_ok=True)
    save_model(model, folder, f"{epoch:02d}.keras")
    for older in range(epoch + 1 - keep):
        path = os.path.join(folder, f"{older:02d}.keras")
        if os.path.exists(path):
            os.remove(path)
