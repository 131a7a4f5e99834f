"""Quantises the encoder of a TFLite captioner to 8-bit integers."""

import contextlib
import io
import logging
from collections.abc import Sequence

import numpy as np

from pipelines.errors import UserError
from show_attend_tell.inference.tflite_file import BEAM, ENCODE, GREEDY

INSTALL = "pip install 'show-attend-tell[int8]'"

# The scope of operations in a Keras model named "encoder", "vgg16_encoder" or
# "encoders". What is side by side in the end has a range for each, not one.
_IN_ENCODER = r"^(\w+_)?encoders?(_\d+)?/(?!side_by_side)"


def with_int8_encoder(model: bytes, squares: Sequence[np.ndarray]) -> bytes:
    """Quantises the encoder in every signature, and the decoder's weights.

    The encoder then runs in integers from its first convolution to its last;
    the range of each of its tensors is that on the given images. The decoder's
    matrices become integers by dynamic range: loops cannot be calibrated.

    Args:
        model: A TFLite file in float32, of `tflite_signatures`.
        squares: Typical images, uint8 `(S, S, 3)`.

    Raises:
        UserError: ai-edge-quantizer is missing, or cannot convert it.
    """
    try:
        from ai_edge_quantizer import calibrator, quantizer, recipe_manager
        from ai_edge_quantizer.qtyping import TFLOperationName
        from ai_edge_quantizer.utils import qsv_utils
    except ImportError as error:
        raise UserError(
            "Expected ai-edge-quantizer, which --precision=int8 needs. "
            f"Received: {error}. Get it: {INSTALL}"
        ) from error
    recipe = recipe_manager.RecipeManager()
    recipe.add_dynamic_config(
        regex=".*",
        operation_name=TFLOperationName.FULLY_CONNECTED,
        num_bits=8,
    )
    recipe.add_static_config(
        regex=_IN_ENCODER,
        operation_name=TFLOperationName.ALL_SUPPORTED,
        activation_num_bits=8,
        weight_num_bits=8,
    )
    try:
        with _quiet():
            # Minimum and maximum of all images, not the default moving
            # average, in which the first image outweighs dozens.
            calibration = calibrator.Calibrator(
                bytearray(model), qsv_update_func=qsv_utils.min_max_update
            )
            calibration.calibrate(
                {ENCODE: [{"image": square[None]} for square in squares]},
                recipe,
            )
            ranges = calibration.get_model_qsvs()
            for signature in (GREEDY, BEAM):
                for name, other in _same_tensors(model, ENCODE, signature):
                    if name in ranges:
                        ranges[other] = ranges[name]
            work = quantizer.Quantizer(
                bytearray(model), recipe.get_quantization_recipe()
            )
            return _embed_weights(work.quantize(ranges).quantized_model)
    except (ValueError, NotImplementedError, RuntimeError) as error:
        raise UserError(
            f"This encoder cannot be quantised to 8 bits: {error}. Choose "
            "another --precision, such as dynamic."
        ) from error


def _embed_weights(model: bytearray) -> bytes:
    """Moves weights into the flatbuffer, where all runtimes look for them.

    The quantizer writes them behind it, as for models beyond 2 GB.
    """
    from ai_edge_litert.tools import flatbuffer_utils

    unpacked = flatbuffer_utils.read_model_from_bytearray(model)
    for buffer in unpacked.buffers:
        if buffer.data is not None:  # Of other types it is slow with.
            buffer.data = np.frombuffer(buffer.data, np.uint8)
    return bytes(flatbuffer_utils.convert_object_to_bytearray(unpacked))


def _same_tensors(model: bytes, one: str, other: str):
    """Yields pairs of names of equal tensors of two signatures.

    Both begin with the encoder, whose operations come in the same order; the
    converter only names their tensors differently.
    """
    first, second = (_operations(model, name) for name in (one, other))
    for (code, names), (code2, names2) in zip(first, second, strict=False):
        if code != code2:
            return
        yield from zip(names, names2, strict=True)


def _operations(model: bytes, signature: str):
    """Yields the code of each operation and the names of its outputs."""
    from ai_edge_litert import schema_py_generated as schema

    root = schema.Model.GetRootAs(model, 0)
    definitions = map(root.SignatureDefs, range(root.SignatureDefsLength()))
    index = next(
        one.SubgraphIndex()
        for one in definitions
        if one.SignatureKey().decode() == signature
    )
    graph = root.Subgraphs(index)
    for operator in map(graph.Operators, range(graph.OperatorsLength())):
        outputs = map(operator.Outputs, range(operator.OutputsLength()))
        names = [graph.Tensors(n).Name().decode() for n in outputs]
        yield operator.OpcodeIndex(), names


@contextlib.contextmanager
def _quiet():
    """Silences the progress and advice of the library."""
    level = logging.root.level
    logging.root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            with contextlib.redirect_stdout(io.StringIO()):
                yield
    finally:
        logging.root.setLevel(level)
