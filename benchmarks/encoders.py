"""Compares the parameters and multiply-adds of encoders with VGG16's.

    python -m benchmarks.encoders [--encoder=NAME --encoder_layer=LAYER]

Counted from the shapes of the layers; no weights are needed, nothing is run.
Transformers of keras-hub cannot be counted.
"""

import keras
from absl import app, flags

from benchmarks.multiply_adds import multiply_adds
from pipelines.encoders.registry import build_encoder

_ENCODER = flags.DEFINE_string("encoder", None, "One more encoder.")
_LAYER = flags.DEFINE_string("encoder_layer", None, "Its layer.")

ENCODERS = (
    ("vgg16", "block5_conv3"),
    ("vgg19", "block5_conv4"),
    ("efficientnet_lite0", "block5c_add"),
    ("efficientnet_lite0", "block6a_expand_activation"),
    ("efficientnet_lite0", "block7a_project_bn"),
    ("efficientnet_lite0", "top_activation"),
    ("scenes", "block4_conv2"),
)


def main(_) -> None:
    """Prints the table."""
    asked = [(_ENCODER.value, _LAYER.value)] if _ENCODER.value else []
    of_vgg16 = None
    print(
        f"{'encoder':<46}{'annotations':>14}{'parameters':>12}"
        f"{'multiply-adds':>16}{'VGG16 / it':>12}"
    )
    for name, layer in (*ENCODERS, *asked):
        keras.backend.clear_session()
        encoder = build_encoder(name, layer, "none")
        cost = multiply_adds(encoder.model)
        of_vgg16 = of_vgg16 or cost
        shape = "x".join(map(str, (*encoder.grid, encoder.depth)))
        print(
            f"{name + ' at ' + encoder.layer:<46}{shape:>14}"
            f"{encoder.model.count_params():>12,}{cost:>16,}"
            f"{of_vgg16 / cost:>12.1f}"
        )


if __name__ == "__main__":
    app.run(main)
