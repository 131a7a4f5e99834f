"""Reads the weights of EfficientNet-Lite0 from a PyTorch checkpoint."""

import os
import tempfile
from collections.abc import Mapping

import h5py
import keras
import numpy as np

from pipelines.errors import UserError
from pipelines.files import write_atomically

_MAX_BYTES = 2**28
# Names of layers in Keras and in PyTorch, outside of blocks and inside.
_OUTSIDE = {
    "stem_conv": "_conv_stem",
    "stem_bn": "_bn0",
    "top_conv": "_conv_head",
    "top_bn": "_bn1",
}
_INSIDE = {
    "expand_conv": "_expand_conv",
    "expand_bn": "_bn0",
    "dwconv": "_depthwise_conv",
    "bn": "_bn1",
    "project_conv": "_project_conv",
    "project_bn": "_bn2",
}
# In the order of Keras.
_NORMALIZATION = ("weight", "bias", "running_mean", "running_var")


def read_checkpoint(path: str) -> dict[str, np.ndarray]:
    """Reads the tensors of a PyTorch checkpoint, and runs nothing from it."""
    try:
        import torch
    except ImportError as error:
        raise UserError(
            f"Converting needs PyTorch ({error}): pip install -e '.[convert]'"
        ) from error
    try:
        size = os.path.getsize(path)
        if size > _MAX_BYTES:
            raise ValueError(f"{size} bytes, more than {_MAX_BYTES}")
        tensors = torch.load(path, map_location="cpu", weights_only=True)
        return {name: tensor.numpy() for name, tensor in tensors.items()}
    except Exception as error:  # PyTorch raises many kinds.
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"Expected a file with PyTorch's weights. Received: {path!r} "
            f"({reason}). Give another with --checkpoint=FILE."
        ) from error


def assign_checkpoint(
    network: keras.Model, tensors: Mapping[str, np.ndarray]
) -> None:
    """Gives the network the weights of a checkpoint, but for its top."""
    weighted = [layer for layer in network.layers if layer.weights]
    blocks: list[str] = []  # PyTorch numbers them through all stages.
    for layer in weighted:
        name = _OUTSIDE.get(layer.name)
        if name is None:
            block, _, inside = layer.name.partition("_")
            if block not in blocks:
                blocks.append(block)
            name = f"_blocks.{blocks.index(block)}.{_INSIDE[inside]}"
        is_normalization = isinstance(layer, keras.layers.BatchNormalization)
        parts = _NORMALIZATION if is_normalization else ("weight",)
        values = [
            _tensor(tensors, f"{name}.{part}", np.shape(weight))
            for part, weight in zip(parts, layer.weights, strict=True)
        ]
        layer.set_weights(values)


def save_compressed(network: keras.Model, path: str) -> None:
    """Writes the weights as Keras reads them, compressed."""
    with tempfile.TemporaryDirectory() as folder:
        plain = os.path.join(folder, "plain.weights.h5")
        small = os.path.join(folder, "small.weights.h5")
        network.save_weights(plain)
        with h5py.File(plain) as source, h5py.File(small, "w") as target:

            def copy(name, item):
                if isinstance(item, h5py.Dataset):
                    # First bytes of all numbers, then second bytes, ...; of
                    # a small one the bookkeeping would be larger.
                    large = item.size > 9999
                    packed = {"compression": 9, "shuffle": True}
                    copied = target.create_dataset(
                        name, data=item[()], **(packed if large else {})
                    )
                else:
                    copied = target.require_group(name)
                copied.attrs.update(item.attrs)

            source.visititems(copy)
            target.attrs.update(source.attrs)
        with open(small, "rb") as file:
            write_atomically(path, file.read())


def _tensor(tensors, name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Returns a tensor of the checkpoint in the layout of Keras."""
    values = tensors.get(name)
    if values is not None and values.ndim == 4:
        # (out, in, rows, columns) -> (rows, columns, in, out); of a depthwise
        # kernel, in is 1 there and out is 1 here.
        last = (0, 1) if shape[-1] == 1 else (1, 0)
        values = values.transpose(2, 3, *last)
    if values is None or values.shape != shape:
        received = "none" if values is None else f"{values.shape}"
        raise UserError(
            f"Expected the weights of EfficientNet-Lite0, with {name} as "
            f"{shape} in the layout of Keras. Received: {received}. Give "
            "another file with --checkpoint=FILE."
        )
    return values
