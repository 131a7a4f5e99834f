"""The configuration of the objective: what training minimizes."""

import dataclasses

from pipelines.options import check_options, option

OBJECTIVES = ("likelihood", "hard_attention", "self_critical")
NORMALIZATIONS = ("sum", "mean")
REINFORCE_SCALES = ("caption", "released")
REWARD_BASELINES = ("others", "greedy")


@dataclasses.dataclass(frozen=True)
class ObjectiveConfig:
    """What `show_attend_tell.objectives` are built from.

    `hard_attention` uses the options of `likelihood` as well.
    """

    name: str = option(
        "likelihood",
        "likelihood of the references; hard_attention, the same with sampled "
        "locations; or self_critical, the reward of sampled captions",
        OBJECTIVES,
        flag="objective",
    )
    regularizer_weight: float = option(
        1.0, "lambda of the doubly stochastic penalty"
    )
    regularizer_normalization: str = option(
        "sum",
        "the penalty's sum over locations (the paper's), or mean",
        NORMALIZATIONS,
    )
    attention_supervision: float = option(
        0.0,
        "weight of the loss of attention outside the boxes of what words "
        "name; 0: none",
    )
    label_smoothing: float = option(
        0.0,
        "part of a word's probability that is spread over all words",
        "[0, 1)",
    )
    scheduled_sampling: float = option(
        0.0,
        "probability at the last epoch that a previous word is sampled from "
        "the model",
        "[0, 1]",
    )
    soft_attention_probability: float = option(
        0.5,
        "hard_attention: probability that an image has the expected context "
        "in a training step",
        "[0, 1]",
    )
    reinforce_weight: float = option(0.1, "hard_attention: lambda_r")
    entropy_weight: float = option(0.002, "hard_attention: lambda_e")
    baseline_decay: float = option(
        0.9, "hard_attention: decay of the moving baseline", "[0, 1]"
    )
    reinforce_scale: str = option(
        "caption",
        "hard_attention: the paper's loss of a caption, or the scale of the "
        "released code",
        REINFORCE_SCALES,
    )
    attention_samples: int = option(
        1,
        "hard_attention: samples of each caption; from 2 on they are the "
        "baseline",
        "[1, inf)",
    )
    gumbel_temperature: float = option(
        0.0,
        "hard_attention: temperature of straight-through Gumbel; 0: REINFORCE",
    )
    reward_bleu: float = option(
        0.0, "self_critical: weight of BLEU-4 in the reward, beside CIDEr-D"
    )
    reward_meteor: float = option(
        0.0, "self_critical: weight of METEOR in the reward, beside CIDEr-D"
    )
    reward_samples: int = option(
        5, "self_critical: captions sampled for each image", "[1, inf)"
    )
    reward_temperature: float = option(
        1.0, "self_critical: temperature of the samples", "(0, inf)"
    )
    reward_baseline: str = option(
        "others",
        "self_critical: baseline of a sample's reward, the image's other "
        "samples, or its greedy caption (the paper's)",
        REWARD_BASELINES,
    )

    def __post_init__(self):
        check_options(self)
