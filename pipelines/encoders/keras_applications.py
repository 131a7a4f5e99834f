"""The networks of `keras.applications`, by their name in lower case."""

import sys
from collections.abc import Callable

import keras

from pipelines.encoders.encoder import Network
from pipelines.encoders.weights_files import build_weighted, first_line
from pipelines.errors import UserError

_DEFAULT_LAYERS = {"vgg19": "block5_conv4", "vgg16": "block5_conv3"}

# Side of the image that a network was trained on; 224 for the others.
IMAGE_SIZES = {
    "inceptionv3": 299, "inceptionresnetv2": 299, "xception": 299,
    "nasnetlarge": 331, "efficientnetb1": 240, "efficientnetb2": 260,
    "efficientnetb3": 300, "efficientnetb4": 380, "efficientnetb5": 456,
    "efficientnetb6": 528, "efficientnetb7": 600, "efficientnetv2b1": 240,
    "efficientnetv2b2": 260, "efficientnetv2b3": 300, "efficientnetv2s": 384,
    "efficientnetv2m": 480, "efficientnetv2l": 480,
}  # fmt: skip


@keras.saving.register_keras_serializable(package="pipelines")
class ApplicationPreprocessing(keras.layers.Layer):
    """Pixels as one of `keras.applications` wants them.

    Takes (B, H, W, 3), RGB, 0 to 255, of any dtype; returns float32.
    """

    def __init__(self, application: str, **kwargs: object) -> None:
        super().__init__(**kwargs)
        self.application = application
        module = sys.modules[_application(application).__module__]
        self.module_name = module.__name__.rpartition(".")[2]
        self._preprocess_input = module.preprocess_input

    def call(self, images):
        """Prepares a batch of images."""
        images = keras.ops.cast(images, "float32")
        return self._preprocess_input(images, data_format="channels_last")

    def compute_output_shape(self, input_shape):
        """The shape stays."""
        return input_shape

    def get_config(self) -> dict:
        """Returns the constructor's arguments."""
        return {**super().get_config(), "application": self.application}


def load_application(name: str, weights: str) -> Network:
    """Builds a network without its top, such as `"resnet50"`, with weights.

    These are `"default"` (ImageNet, downloaded by Keras), `"none"`, or a file.
    """
    preprocess = ApplicationPreprocessing(
        name, dtype="float32", name="preprocessing"
    )
    if weights == "default":
        model = _download(name)
    else:
        model = build_weighted(lambda: _build(name), name, weights)
    module = preprocess.module_name
    return Network(
        name=name,
        model=model,
        image_size=application_image_size(name),
        preprocess=preprocess,
        preprocessing=f"keras.applications.{module}.preprocess_input",
        default_layer=_DEFAULT_LAYERS.get(name),
    )


def application_image_size(name: str) -> int:
    """Returns the side of an application's images in pixels."""
    _application(name)
    return IMAGE_SIZES.get(name, 224)


def _application(name: str) -> Callable[..., keras.Model]:
    applications = {
        each.lower(): getattr(keras.applications, each)
        for each in dir(keras.applications)
        if each[0].isupper()
    }
    if name not in applications:
        raise UserError(
            "Expected an encoder: vgg19, vgg16, efficientnet_lite0, scenes, "
            "another of keras.applications such as resnet50, mobilenetv2 or "
            "efficientnetb0, or keras_hub:PRESET. Received: "
            f"encoder={name!r}."
        )
    return applications[name]


def _build(name: str, weights: str | None = None) -> keras.Model:
    size = application_image_size(name)
    return _application(name)(
        include_top=False, weights=weights, input_shape=(size, size, 3)
    )


def _download(name: str) -> keras.Model:
    try:
        return _build(name, "imagenet")
    except Exception as error:  # Keras and urllib raise many kinds.
        raise UserError(
            f"The ImageNet weights of {name} could not be downloaded: "
            f"{first_line(error)}. Fetch that file (the one without the "
            "top, `notop`) on a machine that can, and give it with "
            "--encoder_weights=FILE."
        ) from error
