"""A captioner that was trained in mixed precision, computing in float32."""

from show_attend_tell.inference.caption_generator import CaptionGenerator
from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner
from show_attend_tell.model import Captioner


def in_float32(captioner: WorkdirCaptioner) -> WorkdirCaptioner:
    """Returns a captioner that computes in float32 alone.

    Devices lack matrix products of bfloat16 and float16. The weights are
    float32 already.

    Args:
        captioner: The captioner; not changed, and itself returned where it
            computes in float32, or is an ensemble.
    """
    model, caption_generator = (
        captioner.caption_generator.captioner,
        captioner.caption_generator,
    )
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
    return WorkdirCaptioner(
        captioner.encoder,
        CaptionGenerator(
            copy,
            caption_generator.vocabulary,
            caption_generator.grid,
            caption_generator.resize_mode,
        ),
        captioner.decoding,
    )
