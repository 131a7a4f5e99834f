"""Tiny backbones of keras-hub with random weights, saved as presets."""

import keras

IMAGE_SIZE = 32
PATCH = {"patch_size": 8, "num_layers": 2, "num_heads": 2, "hidden_dim": 16}
IMAGE = {"image_shape": (IMAGE_SIZE, IMAGE_SIZE, 3)}
TEXT = {"embedding_dim": 8, "hidden_dim": 8, "num_layers": 1, "num_heads": 2}
TEXT |= {"vocabulary_size": 9, "intermediate_dim": 8, "max_sequence_length": 4}

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

    if kind == "vgg":
        return models.VGGBackbone([1, 1, 1], [4, 8, 16])
    if kind == "resnet":
        return models.ResNetBackbone(
            [64], [3], [64, 16], [1, 1], [1, 2], "basic_block"
        )
    if kind == "mobilenet":
        return models.MobileNetBackbone(
            stackwise_expansion=[[8]],
            stackwise_num_blocks=[1],
            stackwise_num_filters=[[8]],
            stackwise_kernel_size=[[3]],
            stackwise_num_strides=[[2]],
            stackwise_se_ratio=[[None]],
            stackwise_activation=[["relu"]],
            stackwise_padding=[[1]],
            output_num_filters=16,
            depthwise_filters=16,
            depthwise_stride=1,
            depthwise_residual=False,
            last_layer_filter=8,
        )
    if kind == "efficientnet":
        return models.EfficientNetBackbone(
            stackwise_kernel_sizes=[3, 3],
            stackwise_num_repeats=[1, 1],
            stackwise_input_filters=[8, 8],
            stackwise_output_filters=[8, 16],
            stackwise_expansion_ratios=[1, 1],
            stackwise_squeeze_and_excite_ratios=[0.0, 0.25],
            stackwise_strides=[2, 2],
            stackwise_block_types=["fused", "unfused"],
            stackwise_width_coefficients=[1.0, 1.0],
            stackwise_depth_coefficients=[1.0, 1.0],
        )
    if kind == "vit":
        return models.ViTBackbone(mlp_dim=16, **PATCH, **IMAGE)
    if kind == "deit":
        return models.DeiTBackbone(intermediate_dim=16, **PATCH, **IMAGE)
    if kind == "dinov2":
        return models.DINOV2Backbone(
            intermediate_dim=16,
            num_register_tokens=4,
            position_embedding_shape=IMAGE["image_shape"],
            **PATCH,
            **IMAGE,
        )
    if kind == "swin":
        return models.SwinTransformerBackbone(
            embed_dim=8, depths=(1, 1), num_heads=(1, 2), window_size=4, **IMAGE
        )
    if kind == "clip_tower":
        return models.CLIPVisionEncoder(
            intermediate_dim=16, name="tower", **PATCH, **IMAGE
        )
    if kind == "clip":
        text = models.CLIPTextEncoder(**TEXT)
        return models.CLIPBackbone(build_backbone("clip_tower"), text, 8)
    if kind == "siglip_tower":
        return models.SigLIPVisionEncoder(intermediate_dim=16, **PATCH, **IMAGE)
    if kind == "siglip":
        text = models.SigLIPTextEncoder(**TEXT)
        return models.SigLIPBackbone(build_backbone("siglip_tower"), text)
    assert kind == "bert"
    return models.BertBackbone(9, 1, 2, 8, 8)
