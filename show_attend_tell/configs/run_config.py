"""The configuration of a run, which `config.json` in its workdir keeps."""

import dataclasses
import os
import types
from collections.abc import Iterator

from pipelines.checksums import write_json
from pipelines.errors import UserError
from pipelines.files import read_json
from pipelines.options import flag_name
from show_attend_tell.configs.data import DataConfig
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.encoder import EncoderConfig
from show_attend_tell.configs.model import ModelConfig
from show_attend_tell.configs.objective import ObjectiveConfig
from show_attend_tell.configs.run_files import check_run
from show_attend_tell.configs.training import TrainingConfig

FILE_NAME = "config.json"


@dataclasses.dataclass(frozen=True)
class RunConfig:
    """Everything that shapes a run; each option is a flag of `train`.

    Sections check their options one by one, `check` across sections.

    Example:
    ```python
    config = RunConfig(model=ModelConfig(units=256))
    config = config.replace(learning_rate=1e-3, epochs=9)
    ```
    """

    data: DataConfig = DataConfig()
    encoder: EncoderConfig = EncoderConfig()
    model: ModelConfig = ModelConfig()
    objective: ObjectiveConfig = ObjectiveConfig()
    training: TrainingConfig = TrainingConfig()
    decoding: Decoding = Decoding()

    def replace(self, **options) -> "RunConfig":
        """Returns the configuration with options, by flag, replaced."""
        changes = {}
        for flag, value in options.items():
            section, field = RUN_OPTIONS[flag]
            changes.setdefault(section, {})[field.name] = value
        sections = {
            section: dataclasses.replace(getattr(self, section), **values)
            for section, values in changes.items()
        }
        return dataclasses.replace(self, **sections)

    def options(self) -> dict[str, object]:
        """Returns the value of every option by its flag."""
        return {
            flag: getattr(getattr(self, section), field.name)
            for flag, (section, field) in RUN_OPTIONS.items()
        }

    def differences(self, received: "RunConfig") -> dict[str, str]:
        """Returns a description of each option that differs, by its flag."""
        theirs = received.options()
        return {
            flag: f"--{flag}={value} (received {theirs[flag]})"
            for flag, value in self.options().items()
            if value != theirs[flag]
        }

    def save(self, workdir: str) -> None:
        """Writes `config.json`."""
        write_json(workdir, FILE_NAME, dataclasses.asdict(self))

    @classmethod
    def load(cls, workdir: str) -> "RunConfig":
        """Reads `config.json`.

        Raises:
            UserError: There is none, it is not the one that was written, or
                not one of this version.
        """
        path = os.path.join(workdir, FILE_NAME)
        if not os.path.exists(path):
            raise UserError(
                f"Expected a folder that `train` wrote, with {FILE_NAME}. "
                f"Received: {workdir!r}. Train one: "
                f"python -m show_attend_tell.train --workdir={workdir}"
            )
        check_run(workdir, FILE_NAME)
        return cls.from_dict(read_json(path), path)

    @classmethod
    def from_dict(cls, values: object, path: str = FILE_NAME) -> "RunConfig":
        """Builds and checks a configuration from the content of a JSON file.

        Options that are missing have their defaults.

        Raises:
            UserError: An option is unknown, of another type or out of range.
        """
        sections = {field.name: field.type for field in dataclasses.fields(cls)}
        unknown = list(_unknown_options(values, sections))[:5]
        if unknown:
            raise UserError(
                f"{path} does not hold the options of this version: "
                f"{', '.join(unknown)}. Train again into another --workdir."
            )
        try:
            config = cls(**{n: sections[n](**values[n]) for n in values})
            config.check()
        except UserError as error:
            raise UserError(f"{path}: {error}") from error
        return config

    def check(self) -> None:
        """Raises a `UserError` where options do not go together."""
        options = self.options()
        for flag, expected in _conflicts(types.SimpleNamespace(**options)):
            raise UserError(
                f"Expected {expected}. Received: {flag}={options[flag]!r}"
            )


def _conflicts(o: types.SimpleNamespace) -> Iterator[tuple[str, str]]:
    """Yields flags that do not go with others, and what is expected."""
    if o.augmentation and not o.finetune:
        yield (
            "augmentation",
            "--augmentation with a fine-tuned encoder, --finetune=LAYER",
        )
    if o.boxes and o.dataset == "scenes":
        yield "boxes", "no --boxes with --dataset=scenes, which has its own"
    if o.attention_supervision and not o.boxes and o.dataset != "scenes":
        yield (
            "attention_supervision",
            "--boxes=FOLDER of the photos with --attention_supervision",
        )
    if o.finetune and not o.learning_rate:
        yield "learning_rate", "--learning_rate to be positive with --finetune"
    if o.finetune and o.consensus:
        yield (
            "consensus",
            "--consensus=0 with --finetune: photos are compared by the "
            "annotations of the encoder before it is fine-tuned",
        )
    if o.finetune and o.ema:
        yield "ema", "--ema=0 with --finetune"
    if o.strategy == "mirrored" and o.dtype_policy == "mixed_float16":
        yield (
            "dtype_policy",
            "--dtype_policy=mixed_bfloat16 or float32 with --strategy=mirrored",
        )
    if o.strategy == "mirrored" and o.finetune and o.encoder_weights == "none":
        yield (
            "encoder_weights",
            "pretrained --encoder_weights with --strategy=mirrored: batch "
            "normalization in training needs the statistics of all devices",
        )
    if o.objective == "self_critical":
        yield from _conflicts_of_self_critical(o)


def _conflicts_of_self_critical(o):
    objective = "--objective=self_critical"
    if o.warm_start is None:
        yield (
            "warm_start",
            f"--warm_start=RUN with {objective}, which improves a trained "
            "model (first: python -m show_attend_tell.train --workdir=RUN)",
        )
    if o.batching != "image":
        yield "batching", f"--batching=image with {objective}"
    for flag in ("label_smoothing", "scheduled_sampling"):
        if vars(o)[flag]:
            yield (
                flag,
                f"--{flag}=0 with {objective}, which learns from the model's "
                "samples only",
            )
    if o.reward_samples < 2 and o.reward_baseline == "others":
        yield (
            "reward_samples",
            "--reward_samples of 2 or more, or --reward_baseline=greedy",
        )


# The section and field of every option, by its flag. The seed of decoding is
# that of sampled captions, which training has none of.
RUN_OPTIONS = {
    flag_name(field): (section.name, field)
    for section in dataclasses.fields(RunConfig)
    for field in dataclasses.fields(section.type)
    if (section.name, field.name) != ("decoding", "seed")
}


def _unknown_options(values: object, sections: dict) -> Iterator[str]:
    if not isinstance(values, dict):
        yield "no object"
        return
    for name, options in values.items():
        if name not in sections or not isinstance(options, dict):
            yield name
            continue
        fields = {field.name for field in dataclasses.fields(sections[name])}
        yield from sorted(f"{name}.{key}" for key in set(options) - fields)
