"""Tiny backbones of keras-hub with random weights, saved as presets."""

import keras

IMAGE_SIZE = 32
IMAGE = {"image_shape": (IMAGE_SIZE, IMAGE_SIZE, 3)}
TOKENS = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
TRANSFORMER = {"intermediate_dim": 16, **TOKENS, **IMAGE}
TEXT = {"embedding_dim": 8, "hidden_dim": 8, "num_layers": 1, "num_heads": 2}
TEXT |= {"vocabulary_size": 9, "intermediate_dim": 8, "max_sequence_length": 4}
MOBILENET = {
    "stackwise_expansion": [[8]],
    "stackwise_num_blocks": [1],
    "stackwise_num_filters": [[8]],
    "stackwise_kernel_size": [[3]],
    "stackwise_num_strides": [[2]],
    "stackwise_se_ratio": [[None]],
    "stackwise_activation": [["relu"]],
    "stackwise_padding": [[1]],
    "output_num_filters": 16,
    "depthwise_filters": 16,
    "depthwise_stride": 1,
    "depthwise_residual": False,
    "last_layer_filter": 8,
}
EFFICIENTNET = {
    "stackwise_kernel_sizes": [3, 3],
    "stackwise_num_repeats": [1, 1],
    "stackwise_input_filters": [8, 8],
    "stackwise_output_filters": [8, 16],
    "stackwise_expansion_ratios": [1, 1],
    "stackwise_squeeze_and_excite_ratios": [0.0, 0.25],
    "stackwise_strides": [2, 2],
    "stackwise_block_types": ["fused", "unfused"],
    "stackwise_width_coefficients": [1.0, 1.0],
    "stackwise_depth_coefficients": [1.0, 1.0],
}
DINOV2 = {"num_register_tokens": 4}
DINOV2["position_embedding_shape"] = IMAGE["image_shape"]
SWIN = {"embed_dim": 8, "depths": (1, 1), "num_heads": (1, 2)}
SWIN["window_size"] = 4

SCALE, OFFSET = [0.01, 0.02, 0.03], [-1.0, 0.0, 0.5]


def save_preset(folder, kind: str, image_size=IMAGE_SIZE) -> str:
    """Saves a backbone and an image converter; returns the folder."""
    import keras_hub

    keras.utils.set_random_seed(0)
    build_backbone(kind).save_to_preset(str(folder))
    converter = keras_hub.layers.ImageConverter(
        image_size=(image_size, image_size), scale=SCALE, offset=OFFSET
    )
    converter.save_to_preset(str(folder))
    return str(folder)


def build_backbone(kind: str):
    """Builds a backbone of one family."""
    from keras_hub import models

    def clip_tower():
        return models.CLIPVisionEncoder(name="tower", **TRANSFORMER)

    def siglip_tower():
        return models.SigLIPVisionEncoder(**TRANSFORMER)

    builders = {
        "vgg": lambda: models.VGGBackbone([1, 1, 1], [4, 8, 16]),
        "resnet": lambda: models.ResNetBackbone(
            [64], [3], [64, 16], [1, 1], [1, 2], "basic_block"
        ),
        "mobilenet": lambda: models.MobileNetBackbone(**MOBILENET),
        "efficientnet": lambda: models.EfficientNetBackbone(**EFFICIENTNET),
        "vit": lambda: models.ViTBackbone(mlp_dim=16, **TOKENS, **IMAGE),
        "deit": lambda: models.DeiTBackbone(**TRANSFORMER),
        "dinov2": lambda: models.DINOV2Backbone(**DINOV2, **TRANSFORMER),
        "swin": lambda: models.SwinTransformerBackbone(**SWIN, **IMAGE),
        "clip_tower": clip_tower,
        "clip": lambda: models.CLIPBackbone(
            clip_tower(), models.CLIPTextEncoder(**TEXT), 8
        ),
        "siglip_tower": siglip_tower,
        "siglip": lambda: models.SigLIPBackbone(
            siglip_tower(), models.SigLIPTextEncoder(**TEXT)
        ),
        "bert": lambda: models.BertBackbone(9, 1, 2, 8, 8),
    }
    return builders[kind]()
