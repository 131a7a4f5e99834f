"""Flags replace options of a recipe, and mistakes are one line."""

import json
import os
import subprocess
import sys

from show_attend_tell.configs.recipes import load_recipe
from show_attend_tell.configs.run_config import RUN_OPTIONS, RunConfig

PROGRAM = """
import dataclasses, json
from pipelines.commands import run
from show_attend_tell.configs.flags import define_run_flags
read = define_run_flags()
def main(arguments):
    name, config = read()
    print(json.dumps([name, dataclasses.asdict(config)]))
run(main)
"""


def parsed(*arguments):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        capture_output=True,
        text=True,
    )
    assert "Traceback" not in done.stderr
    return done


def config_of(*arguments):
    name, values = json.loads(parsed(*arguments).stdout)
    return name, RunConfig.from_dict(values)


def test_every_option_is_a_flag():
    expected = load_recipe("flickr8k_hard").replace(
        batch_size=7,
        learning_rate=0.5,
        data_dir=os.path.abspath("photos"),
        encoder_weights="none",
        fused_decoder=False,
        gate="vector",
    )
    arguments = ["--recipe=flickr8k_hard", "--data_dir=photos"]
    for flag, value in expected.options().items():
        if value is not None and flag != "data_dir":
            arguments.append(f"--{flag}={value}")
    assert config_of(*arguments) == ("flickr8k_hard", expected)


def test_a_data_set_has_a_recipe():
    assert config_of() == ("scenes", load_recipe("scenes"))
    name, config = config_of("--dataset=karpathy")
    assert name == "coco_soft"
    assert config == load_recipe("coco_soft").replace(dataset="karpathy")


def test_mistakes_name_the_flag():
    done = parsed("--objective=self_critical")
    assert done.returncode == 1
    assert "--warm_start=RUN" in done.stderr
    text = parsed("--helpfull").stdout
    assert all(
        f"--{flag}:" in text or f"[no]{flag}:" in text for flag in RUN_OPTIONS
    )
