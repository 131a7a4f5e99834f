"""Converts a captioner trained in mixed precision to float32."""

from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from show_attend_tell.model import Captioner


def in_float32(captioner: WorkdirCaptioner) -> WorkdirCaptioner:
    """Returns a copy that computes in float32; its weights are already.

    Devices lack matrix products of bfloat16 and float16. What computes in
    float32, or is an ensemble, is returned as it is.
    """
    generator = captioner.caption_generator
    model = generator.captioner
    if not isinstance(model, Captioner) or model.compute_dtype == "float32":
        return captioner
    copy = Captioner.from_config({**model.get_config(), "dtype": "float32"})
    if copy.encoder is not None:
        for layer in copy.encoder._flatten_layers():
            layer.dtype_policy = "float32"
    depth = model.decoder.cell.context_kernel.shape[0]
    copy.build(
        {"annotations": (None, None, depth), "tokens": (None, None, None)}
    )
    copy.set_weights(model.get_weights())
    generator = CaptionGenerator(
        copy, generator.vocabulary, generator.grid, generator.resize_mode
    )
    return WorkdirCaptioner(captioner.encoder, generator, captioner.decoding)
