"""Files of an encoder's weights: checked, loaded, and their digest."""

import hashlib
import os
import pathlib
from collections.abc import Callable

import keras
import numpy as np

from pipelines.errors import UserError

MAX_WEIGHTS_BYTES = 4 * 2**30
_PACKAGED = pathlib.Path(__file__).parent / "weights"
_HDF5_SIGNATURE = b"\x89HDF\r\n\x1a\n"


def packaged_weights(name: str) -> str:
    """Returns the file of weights that comes with this package."""
    return os.fspath(_PACKAGED / f"{name}.weights.h5")


def check_weights_file(name: str, path: str) -> None:
    """Checks that a file, which may be anything, can hold weights."""
    try:
        size = os.stat(path).st_size if os.path.isfile(path) else -1
        if size > 0:
            with open(path, "rb") as file:
                signature = file.read(len(_HDF5_SIGNATURE))
    except (OSError, ValueError) as error:
        raise UserError(
            f"The weights of {name} cannot be read: {error}. Give the file "
            "with --encoder_weights=FILE."
        ) from error
    if size < 0:
        raise UserError(
            f"Expected a file with the weights of {name}. Received: "
            f"{path!r}, which is no file. Give one with "
            "--encoder_weights=FILE."
        )
    if size == 0 or size > MAX_WEIGHTS_BYTES or signature != _HDF5_SIGNATURE:
        raise UserError(
            "Expected weights in HDF5 (.weights.h5 or _notop.h5), at most "
            f"{MAX_WEIGHTS_BYTES} bytes. Received: {path!r}, {size} bytes. "
            "Give another file with --encoder_weights=FILE."
        )


def build_weighted(
    build: Callable[[], keras.Model], name: str, weights: str
) -> keras.Model:
    """Builds a network with the weights of a file, or random ones: `"none"`."""
    if weights != "none":
        # Before the network is built, which takes seconds.
        check_weights_file(name, weights)
    network = build()
    if weights == "none":
        initialise(network)
    else:
        load_weights(network, name, weights)
    return network


def load_weights(network: keras.Model, name: str, path: str) -> None:
    """Loads a file of weights, which may be those of another network."""
    try:
        network.load_weights(path)
    except Exception as error:  # Keras and h5py raise many kinds.
        raise UserError(
            f"Expected the weights of {name} without its top. Received: "
            f"{path!r}, which does not fit: {first_line(error)}. Give "
            "another file with --encoder_weights=FILE, or the encoder that "
            "it belongs to with --encoder=NAME."
        ) from error


def initialise(network: keras.Model) -> None:
    """Fills the kernels by He's rule, always with the same numbers."""
    generator = np.random.default_rng(0)
    for weight in network.weights:
        if len(weight.shape) > 1 and keras.backend.is_float_dtype(weight.dtype):
            # A depthwise kernel, (rows, columns, depth, 1), sums no depth.
            summed = weight.shape[: 2 if weight.shape[-1] == 1 else -1]
            inputs = int(np.prod(summed))
            values = generator.standard_normal(weight.shape, np.float32)
            weight.assign(values * np.float32(np.sqrt(2 / inputs)))
        elif weight.name in ("bias", "class_embedding"):
            weight.assign(np.zeros(weight.shape, np.float32))


def weights_digest(*models: keras.Model) -> str:
    """SHA-256 of the weights of models, their names and shapes, in hexadecimal.

    Names of layers do not count: Keras numbers some by what was built before.
    """
    digest = hashlib.sha256()
    for weight in (weight for model in models for weight in model.weights):
        values = np.ascontiguousarray(weight.numpy(), dtype="<f4")
        digest.update(f"{weight.name}{values.shape}".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def first_line(error: Exception) -> str:
    """Returns the first line of an error's message."""
    lines = str(error).strip().splitlines() or [type(error).__name__]
    return lines[0].rstrip(".")
