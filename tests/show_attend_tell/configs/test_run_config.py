"""Configurations survive JSON and flags; mistakes name the flag to mend."""

import dataclasses
import json

import pytest

from pipelines.errors import UserError
from show_attend_tell.configs.run_config import (
    FILE_NAME,
    RUN_OPTIONS,
    RunConfig,
)

SELF_CRITICAL = {"objective": "self_critical", "warm_start": "RUN"}


def test_json_keeps_every_option(tmp_path):
    config = RunConfig().replace(units=32, consensus=20, data_dir="photos")
    config.save(str(tmp_path))
    assert RunConfig.load(str(tmp_path)) == config
    values = json.loads((tmp_path / FILE_NAME).read_text())
    assert values["model"]["units"] == 32
    assert RunConfig.from_dict({}) == RunConfig()
    # As JSON of other programs has it.
    values["model"]["dropout"] = 0
    assert RunConfig.from_dict(values).model.dropout == 0


def test_every_option_has_one_flag():
    sections = [section.type for section in dataclasses.fields(RunConfig)]
    count = sum(len(dataclasses.fields(section)) for section in sections)
    assert len(RUN_OPTIONS) == count - 1  # All but the seed of decoding.
    assert RunConfig().options()["seed"] == 0
    assert RunConfig().replace(seed=3).decoding.seed == 0


def test_differences_are_flags():
    config = RunConfig()
    assert not config.differences(config)
    differences = config.replace(units=32).differences(config)
    assert differences == {"units": "--units=32 (received 512)"}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "no object"),
        ({"model": 5}, "version: model"),
        ({"units": 5}, "version: units"),
        ({"model": {"unit": 5}}, "version: model.unit"),
        ({"model": {"units": "5"}}, "--units to be of type int"),
        ({"model": {"units": True}}, "--units to be of type int"),
        ({"model": {"units": None}}, "--units to be of type int"),
        ({"model": {"fused_decoder": 1}}, "--fused_decoder to be of type bool"),
        ({"training": {"warm_start": ["RUN"]}}, "--warm_start to be of type"),
        ({"encoder": {"name": 5}}, "--encoder to be of type str"),
        ({"data": {"data_dir": "a\0"}}, "--data_dir to have no zero byte"),
        ({"training": {"learning_rate": 10**400}}, "--learning_rate to be bel"),
    ],
    ids=str,
)
def test_malformed_json(values, message):
    with pytest.raises(UserError, match=f"config.json.*{message}"):
        RunConfig.from_dict(values)


def test_a_folder_without_a_run(tmp_path):
    with pytest.raises(UserError, match="Train one: python -m"):
        RunConfig.load(str(tmp_path))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"dropout": 1.0}, r"--dropout to lie in \[0, 1\)"),
        ({"dropout": float("nan")}, "--dropout"),
        ({"units": 0}, "--units"),
        ({"seed": -1}, "--seed"),
        ({"seed": 2**31}, r"--seed to be below 2\*\*31"),
        ({"frozen_epochs": -1}, "--frozen_epochs"),
        ({"attention_temperature": 0.0}, "--attention_temperature"),
        ({"dtype_policy": "float64"}, "bfloat16"),
        ({"strategy": "tpu"}, "none, mirrored"),
        ({"augmentation": "turn", "finetune": "all"}, "crop, flip, colour"),
        ({"augmentation": "crop,crop", "finetune": "all"}, "each once"),
        ({"reward_samples": 0}, "--reward_samples"),
        ({"reward_temperature": 0.0}, "--reward_temperature"),
        ({"max_words": 0}, "--max_words"),
    ],
    ids=str,
)
def test_ranges(options, message):
    with pytest.raises(UserError, match=message):
        RunConfig().replace(**options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"finetune": "all", "consensus": 20}, "--consensus=0"),
        ({"finetune": "all", "learning_rate": 0.0}, "--learning_rate"),
        ({"finetune": "all", "ema": 0.9}, "--ema=0"),
        ({"augmentation": "flip"}, "--finetune=LAYER"),
        (
            {"strategy": "mirrored", "dtype_policy": "mixed_float16"},
            "--dtype_policy=mixed_bfloat16",
        ),
        (
            {
                "strategy": "mirrored",
                "finetune": "all",
                "encoder_weights": "none",
            },
            "--encoder_weights",
        ),
        ({"objective": "self_critical"}, "--warm_start=RUN"),
        (SELF_CRITICAL | {"batching": "length"}, "--batching=image"),
        (SELF_CRITICAL | {"reward_samples": 1}, "--reward_baseline=greedy"),
        (SELF_CRITICAL | {"label_smoothing": 0.1}, "--label_smoothing=0 with"),
        (SELF_CRITICAL | {"scheduled_sampling": 1}, "--scheduled_sampling=0"),
    ],
    ids=str,
)
def test_options_that_do_not_go_together(options, message):
    config = RunConfig().replace(**options)
    with pytest.raises(UserError, match=message):
        config.check()
    with pytest.raises(UserError, match=message):
        RunConfig.from_dict(dataclasses.asdict(config))
