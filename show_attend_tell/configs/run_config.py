"""Everything that shapes a run, and the recipes."""

import dataclasses
import os
import typing

from pipelines.cache.precisions import PRECISIONS
from pipelines.errors import UserError
from pipelines.files import read_json, write_json
from pipelines.sources import SOURCES

FILE_NAME = "config.json"


def _option(default, help: str, choices: tuple[str, ...] | None = None):
    return dataclasses.field(
        default=default, metadata={"help": help, "choices": choices}
    )


@dataclasses.dataclass(frozen=True)
class Config:
    """The settings of one run; each is a flag of the same name.

    `config.json` in the workdir keeps them for every later command.
    """

    # Images and captions.
    dataset: str = _option(
        "scenes", "where captioned images come from", SOURCES
    )
    data_dir: str | None = _option(None, "the folder of the data set")
    captions: str | None = _option(
        None, "the file of the captions, where the data set takes one"
    )
    train_images: int = _option(0, "use this many for training; 0: all")
    validation_images: int = _option(0, "use this many to choose; 0: all")
    test_images: int = _option(0, "use this many for the scores; 0: all")

    # Annotations.
    encoder: str = _option(
        "vgg19",
        "vgg19, vgg16, efficientnet_lite0, scenes, resnet50, ...; or several "
        "side by side, joined by +",
    )
    encoder_layer: str | None = _option(
        None, "the layer that gives the annotations; by default the encoder's"
    )
    encoder_weights: str = _option(
        "default", "default (ImageNet), a .h5 file, or none"
    )
    resize_mode: str = _option(
        "crop",
        "crop (the paper's: shorter side to 256, centre 224) or squash",
        ("crop", "squash"),
    )
    precision: str = _option("sqrt8", "of the annotations on disk", PRECISIONS)
    annotations: str | None = _option(
        None, "folder of the annotations; by default in the workdir"
    )

    # An encoder that learns; see `pipelines.encoders.fine_tuning`.
    finetune: str = _option(
        "",
        "the lowest layer of the encoder that learns, or all; by default "
        "none does",
    )
    encoder_learning_rate: float = _option(
        1e-5, "of the encoder, on the schedule of the other"
    )
    frozen_epochs: int = _option(
        1, "the encoder learns only after so many epochs"
    )
    augmentation: str = _option(
        "",
        "what is done to the images of an encoder that learns: some of "
        "crop,flip,colour",
    )
    dtype_policy: str = _option(
        "float32",
        "Keras's policy of training; weights stay float32",
        ("float32", "mixed_bfloat16", "mixed_float16"),
    )

    # Words.
    vocabulary_size: int = _option(10000, "keep at most this many words")
    min_count: int = _option(5, "keep words that occur this often")
    max_training_words: int = _option(50, "cut training captions here")

    # The model; see `show_attend_tell.model.Captioner`.
    embedding_size: int = _option(512, "E, size of a word's embedding")
    units: int = _option(512, "U, size of the LSTM")
    attention_units: int = _option(512, "A, size of the attention's layer")
    gate: str = _option(
        "scalar", "on the context", ("scalar", "vector", "none")
    )
    initial_units: int = _option(
        512, "hidden layer of the initial state; 0: none"
    )
    activation: str = _option("tanh", "of the deep output", ("tanh", "linear"))
    dropout: float = _option(0.5, "share of units dropped in training")
    regularizer_weight: float = _option(
        1.0, "lambda of the doubly stochastic penalty"
    )
    regularizer_normalization: str = _option(
        "sum", "over locations: sum (the paper's) or mean", ("sum", "mean")
    )
    annotation_scale: float = _option(
        0.0,
        "what annotations are multiplied by on entry; 0: what gives those of "
        "training a standard deviation of 1",
    )

    # Hard attention; see `show_attend_tell.model.Captioner`.
    attention: str = _option("soft", "soft or hard", ("soft", "hard"))
    attention_temperature: float = _option(
        1.0, "what the attention's energies are divided by"
    )
    soft_attention_probability: float = _option(
        0.5, "hard: how often an image sees the expectation in training"
    )
    reinforce_weight: float = _option(0.1, "hard: lambda_r")
    entropy_weight: float = _option(0.002, "hard: lambda_e")
    baseline_decay: float = _option(0.9, "hard: of the moving baseline")
    reinforce_scale: str = _option(
        "caption",
        "hard: the paper's loss of a caption, or the released code's scale",
        ("caption", "released"),
    )
    attention_samples: int = _option(
        1, "hard: draws for each caption; from 2 on they are the baseline"
    )
    gumbel_temperature: float = _option(
        0.0, "hard: temperature of straight-through Gumbel; 0: REINFORCE"
    )

    # What is learned; see `show_attend_tell.objectives.self_critical.SelfCritical`.
    objective: str = _option(
        "likelihood",
        "likelihood of people's captions, or self_critical: the reward of "
        "the model's own",
        ("likelihood", "self_critical"),
    )
    reward_bleu: float = _option(
        0.0, "self_critical: what BLEU-4 counts beside 1 of CIDEr-D"
    )
    reward_meteor: float = _option(
        0.0, "self_critical: what METEOR counts beside 1 of CIDEr-D"
    )
    reward_samples: int = _option(
        5, "self_critical: captions drawn for each image"
    )
    reward_temperature: float = _option(
        1.0, "self_critical: of the captions drawn"
    )
    reward_baseline: str = _option(
        "others",
        "self_critical: rewards are compared with those of the image's other "
        "samples, or of its greedy caption (the paper's)",
        ("others", "greedy"),
    )

    # Training.
    warm_start: str | None = _option(
        None, "workdir of a finished run whose best model to start from"
    )
    epochs: int = _option(20, "at most this many passes over the captions")
    batch_size: int = _option(64, "captions in a batch")
    batching: str = _option(
        "image",
        "a batch holds images with all captions, or captions of one length",
        ("image", "length"),
    )
    length_step: int = _option(4, "lengths are padded to multiples of this")
    strategy: str = _option(
        "none",
        "mirrored: on all GPUs of this machine, each with a share of a batch",
        ("none", "mirrored"),
    )
    optimizer: str = _option("adam", "what takes the step", ("adam", "rmsprop"))
    learning_rate: float = _option(5e-4, "at the start")
    schedule: str = _option(
        "cosine",
        "of the learning rate: constant, or cosine to zero at the last epoch",
        ("constant", "cosine"),
    )
    label_smoothing: float = _option(
        0.0, "share of a word's probability that is spread over all words"
    )
    scheduled_sampling: float = _option(
        0.0, "share of previous words that the model draws, at the last epoch"
    )
    ema: float = _option(
        0.0, "momentum of the average of weights that says captions; 0: none"
    )
    keep_epochs: int = _option(
        0, "keep the models of the last so many epochs, for an ensemble"
    )
    clip_norm: float = _option(5.0, "largest norm of the gradient; 0: any")
    patience: int = _option(
        10,
        "stop after this many epochs without a better BLEU-4, or CIDEr-D "
        "with self_critical",
    )
    checkpoint_minutes: float = _option(2.0, "time between checkpoints")
    max_words: int = _option(30, "longest caption that the model says")
    beam_width: int = _option(
        5, "of beam search, where captions are not asked for otherwise"
    )
    length_penalty: float = _option(
        0.7,
        "hypotheses are ranked by log p / length ** this; with --consensus 1",
    )
    consensus: int = _option(
        0,
        "of so many hypotheses take the one that people's captions of similar "
        "photos agree with; 0: the one that scores best",
    )
    pictures: int = _option(12, "pictures of attention to draw at the end")
    seed: int = _option(0, "of weights, order and dropout")

    @property
    def augmentations(self) -> tuple[str, ...]:
        """What is done to the images in training."""
        kinds = (kind.strip() for kind in self.augmentation.split(","))
        return tuple(kind for kind in kinds if kind)

    def save(self, workdir: str) -> None:
        """Writes `config.json`."""
        write_json(os.path.join(workdir, FILE_NAME), dataclasses.asdict(self))

    @classmethod
    def load(cls, workdir: str) -> "Config":
        """Reads `config.json`.

        Raises:
            UserError: There is none, or it is not one of this version.
        """
        path = os.path.join(workdir, FILE_NAME)
        if not os.path.exists(path):
            raise UserError(
                f"Expected a folder that `train` wrote, with {FILE_NAME}. "
                f"Received: {workdir!r}. Train one: "
                f"python -m show_attend_tell.train --workdir={workdir}"
            )
        return cls.from_dict(read_json(path), path)

    @classmethod
    def from_dict(cls, values: object, path: str = FILE_NAME) -> "Config":
        """Builds settings from what JSON holds, checking every one.

        What a file of an older version lacks has its default.

        Raises:
            UserError: A setting is unknown or of another type.
        """
        types = typing.get_type_hints(cls)
        given = set(values) if isinstance(values, dict) else {"no object"}
        odd = sorted(given - set(types))[:5]
        if odd:
            raise UserError(
                f"{path} does not hold the settings of this version: "
                f"{', '.join(odd)}. Train again into another --workdir."
            )
        for name, value in values.items():
            wanted = types[name]
            if wanted is float and isinstance(value, int):
                wanted = int
            if not isinstance(value, wanted) or isinstance(value, bool):
                raise UserError(
                    f"{path}: expected {name} of type {types[name]}. "
                    f"Received: {value!r}"
                )
        config = cls(**values)
        config.check()
        return config

    def check(self) -> None:
        """Checks that every setting is in its range.

        Raises:
            UserError: One is not.
        """
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            choices = field.metadata["choices"]
            flag = f"--{field.name}"
            if choices and value not in choices:
                raise UserError(
                    f"Expected {flag} to be one of {', '.join(choices)}. "
                    f"Received: {value!r}"
                )
            if isinstance(value, (int, float)) and not 0 <= value < 2**31:
                raise UserError(
                    f"Expected {flag} not to be negative. Received: {value}"
                )
        for name in _POSITIVE:
            if getattr(self, name) < 1:
                raise UserError(
                    f"Expected --{name} to be at least 1. "
                    f"Received: {getattr(self, name)}"
                )
        for name in ("dropout", "label_smoothing", "ema"):
            if getattr(self, name) >= 1:
                raise UserError(
                    f"Expected --{name} below 1. "
                    f"Received: {getattr(self, name)}"
                )
        for name in (
            "soft_attention_probability",
            "baseline_decay",
            "scheduled_sampling",
        ):
            if getattr(self, name) > 1:
                raise UserError(
                    f"Expected --{name} to be at most 1. "
                    f"Received: {getattr(self, name)}"
                )
        kinds = self.augmentations
        if len(set(kinds)) < len(kinds) or set(kinds) - set(_AUGMENTATIONS):
            raise UserError(
                f"Expected --augmentation to be of {', '.join(_AUGMENTATIONS)}"
                f", each once. Received: {self.augmentation!r}"
            )
        if kinds and not self.finetune:
            raise UserError(
                "Expected --augmentation with an encoder that learns, "
                "--finetune=LAYER. Received: "
                f"augmentation={self.augmentation!r}"
            )
        if self.finetune and not self.learning_rate:
            raise UserError(
                "Expected --learning_rate to be positive with --finetune. "
                f"Received: {self.learning_rate}"
            )
        if self.finetune and self.consensus:
            raise UserError(
                "Expected --consensus=0 with --finetune: photos are compared "
                "by what the encoder gives before any of it learns. "
                f"Received: --consensus={self.consensus}"
            )
        if not self.attention_temperature:
            raise UserError(
                "Expected --attention_temperature to be positive. "
                f"Received: {self.attention_temperature}"
            )
        if self.strategy == "mirrored":
            self._check_mirrored()
        if self.objective == "self_critical":
            self._check_self_critical()

    def _check_mirrored(self) -> None:
        if self.dtype_policy == "mixed_float16":
            raise UserError(
                "Expected --dtype_policy=mixed_bfloat16 or float32 with "
                "--strategy=mirrored. Received: --dtype_policy=mixed_float16"
            )
        if self.finetune and self.encoder_weights == "none":
            raise UserError(
                "Expected pretrained --encoder_weights with "
                "--strategy=mirrored: batch normalisation that learns would "
                "need the statistics of all devices. "
                "Received: --encoder_weights=none"
            )

    def _check_self_critical(self) -> None:
        if not self.warm_start:
            raise UserError(
                "Expected --warm_start=RUN with --objective=self_critical, "
                "which makes a trained model better. Train one first: "
                "python -m show_attend_tell.train --workdir=RUN"
            )
        if self.batching != "image":
            raise UserError(
                "Expected --batching=image with --objective=self_critical. "
                f"Received: --batching={self.batching}"
            )
        if not self.reward_temperature:
            raise UserError(
                "Expected --reward_temperature to be positive. "
                f"Received: {self.reward_temperature}"
            )
        for name in ("label_smoothing", "scheduled_sampling"):
            if getattr(self, name):
                raise UserError(
                    f"Expected --{name}=0 with --objective=self_critical, "
                    "which learns from no one's words but its own. "
                    f"Received: --{name}={getattr(self, name)}"
                )
        if self.reward_samples < 2 and self.reward_baseline == "others":
            raise UserError(
                "Expected --reward_samples of 2 or more, or "
                "--reward_baseline=greedy. "
                f"Received: --reward_samples={self.reward_samples}"
            )


_AUGMENTATIONS = ("crop", "flip", "colour")
_POSITIVE = (
    "vocabulary_size",
    "max_training_words",
    "embedding_size",
    "units",
    "attention_units",
    "epochs",
    "batch_size",
    "length_step",
    "max_words",
    "beam_width",
    "attention_samples",
    "reward_samples",
)


@dataclasses.dataclass(frozen=True)
class Recipe:
    """Settings that are known to work, and how well.

    Attributes:
        config: The settings.
        command: What runs it, after `python -m show_attend_tell.train`.
        expected: The scores to expect.
        reproduced: Whether this project has run it and seen them.
    """

    config: Config
    command: str
    expected: str
    reproduced: bool


# What `Captioner` is given as it is.
MODEL_SETTINGS = (
    "embedding_size",
    "units",
    "attention_units",
    "gate",
    "initial_units",
    "activation",
    "dropout",
    "regularizer_weight",
    "regularizer_normalization",
    "annotation_scale",
    "attention",
    "attention_temperature",
    "soft_attention_probability",
    "reinforce_weight",
    "entropy_weight",
    "baseline_decay",
    "reinforce_scale",
    "attention_samples",
    "gumbel_temperature",
    "label_smoothing",
    "scheduled_sampling",
    "ema",
)

# Of these, what the weights were learned for; another value would make
# nonsense of them.
WEIGHT_SETTINGS = (
    "embedding_size",
    "units",
    "attention_units",
    "gate",
    "initial_units",
    "activation",
    "annotation_scale",
)

# No penalty: it would pull attention off the things, which are small.
_SCENES = Config(
    encoder="scenes",
    resize_mode="squash",
    min_count=1,
    embedding_size=128,
    units=256,
    attention_units=128,
    initial_units=0,
    dropout=0.5,
    regularizer_weight=0.0,
    annotation_scale=1.0,
    epochs=9,
    batch_size=128,
    learning_rate=3e-3,
)
# Sizes for two cores. The penalty is the mean over locations: as the sum over
# 196 of them, a few words cannot but leave it large, and attention spreads.
# Captions of similar photos choose better among hypotheses than their score.
_PHOTOS = Config(
    dataset="flickr8k",
    embedding_size=256,
    attention_units=256,
    regularizer_normalization="mean",
    epochs=8,
    learning_rate=2e-3,
    consensus=20,
)
# Of the larger data sets, as the authors have it.
_COCO = Config(
    dataset="coco", units=1800, learning_rate=2e-4, schedule="constant"
)


def _hard(config: Config) -> Config:
    """The same with hard attention, which has no penalty."""
    return dataclasses.replace(config, attention="hard", regularizer_weight=0.0)


# On photos attention is broad, and one place tells little of what all tell: the
# less is drawn, the less is lost. What is drawn keeps units from being learned
# by heart, as dropout does.
_PHOTOS_HARD = dataclasses.replace(
    _hard(_PHOTOS),
    gumbel_temperature=1.0,
    soft_attention_probability=0.8,
    dropout=0.4,
)


def _rewarded(config: Config) -> Config:
    """What goes on from a run of these settings.

    Captions that were learned for their rewards are short, so that ranking by
    the mean of a word suits them.
    """
    return dataclasses.replace(
        config,
        objective="self_critical",
        reward_bleu=1.0,
        reward_meteor=5.0,
        reward_temperature=0.5,
        learning_rate=1e-4,
        epochs=2,
        length_penalty=1.0,
    )


RECIPES = {
    "scenes": Recipe(
        _SCENES,
        "--recipe=scenes",
        "test: BLEU-4 0.866, true captions 0.914, pointing accuracy 0.962",
        reproduced=True,
    ),
    "scenes_hard": Recipe(
        _hard(_SCENES),
        "--recipe=scenes_hard",
        "test: BLEU-4 0.834, true captions 0.828, pointing accuracy 0.689",
        reproduced=True,
    ),
    "flickr8k_soft": Recipe(
        _PHOTOS,
        "--recipe=flickr8k_soft --data_dir=FLICKR8K",
        "VGG16, validation: BLEU-4 0.213, METEOR 0.205, CIDEr 0.563; the "
        "paper, test, VGG19: 0.195, 0.189",
        reproduced=True,
    ),
    "flickr8k_hard": Recipe(
        _PHOTOS_HARD,
        "--recipe=flickr8k_hard --data_dir=FLICKR8K",
        "VGG16, validation: BLEU-4 0.213, METEOR 0.203, CIDEr 0.547; the "
        "paper, test, VGG19: 0.213, 0.203",
        reproduced=True,
    ),
    "flickr8k_best": Recipe(
        _rewarded(_PHOTOS),
        "--recipe=flickr8k_best --data_dir=FLICKR8K --warm_start=RUN",
        "VGG16, validation, from flickr8k_soft: BLEU-4 0.220, METEOR 0.210, "
        "CIDEr 0.601",
        reproduced=True,
    ),
    "flickr8k_best_hard": Recipe(
        _rewarded(_PHOTOS_HARD),
        "--recipe=flickr8k_best_hard --data_dir=FLICKR8K --warm_start=RUN",
        "VGG16, validation, from flickr8k_hard: BLEU-4 0.219, METEOR 0.203, "
        "CIDEr 0.566",
        reproduced=True,
    ),
    "flickr30k_soft": Recipe(
        dataclasses.replace(_PHOTOS, dataset="flickr30k"),
        "--recipe=flickr30k_soft --data_dir=FLICKR30K",
        "the paper: BLEU-4 without penalty 0.191",
        reproduced=False,
    ),
    "flickr30k_hard": Recipe(
        dataclasses.replace(_PHOTOS_HARD, dataset="flickr30k"),
        "--recipe=flickr30k_hard --data_dir=FLICKR30K",
        "the paper: BLEU-4 without penalty 0.199",
        reproduced=False,
    ),
    "coco_soft": Recipe(
        _COCO,
        "--recipe=coco_soft --data_dir=COCO",
        "the paper: BLEU-4 without penalty 0.243",
        reproduced=False,
    ),
    "coco_hard": Recipe(
        _hard(_COCO),
        "--recipe=coco_hard --data_dir=COCO",
        "the paper: BLEU-4 without penalty 0.250",
        reproduced=False,
    ),
}
