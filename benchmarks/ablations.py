r"""Compares short trainings that each differ from a recipe in one option.

    python -m benchmarks.ablations --output=ablations --seeds=0,1,2 \
        --only=recipe,no_gate -- --data_dir=FLICKR8K --encoder=vgg16 \
        --annotations=annotations/flickr8k

Every training gets the flags after `--`. The same command resumes after a stop:
finished trainings are not repeated. The table is printed when all are done.
"""

import os
import statistics
import subprocess
import sys

from absl import app, flags

from pipelines.files import read_json

_OUTPUT = flags.DEFINE_string("output", "ablations", "Folder of the runs.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of each training.")
_ONLY = flags.DEFINE_list("only", [], "Trainings, by name; by default all.")

# Minutes, not an hour: a third of Flickr8k's photos.
_BUDGET = ("--train_images=2000", "--epochs=5", "--consensus=0", "--pictures=0")
_SOFT, _HARD = "--recipe=flickr8k_soft", "--recipe=flickr8k_hard"
_WEAK = "--regularizer_weight=0.1"
_HALF = "--soft_attention_probability=0.5"
_SHARPER = "--attention_temperature=0.25"
VARIATIONS = {
    "recipe": (_SOFT,),
    "no_gate": (_SOFT, "--gate=none"),
    "vector_gate": (_SOFT, "--gate=vector"),
    "no_penalty": (_SOFT, "--regularizer_weight=0"),
    "penalty_as_sum": (_SOFT, "--regularizer_normalization=sum", _WEAK),
    "linear_output": (_SOFT, "--activation=linear"),
    "attention_of_128": (_SOFT, "--attention_units=128"),
    "attention_of_512": (_SOFT, "--attention_units=512"),
    "no_dropout": (_SOFT, "--dropout=0"),
    "dropout_of_0.3": (_SOFT, "--dropout=0.3"),
    "one_length": (_SOFT, "--batching=length", "--length_step=2"),
    "unscaled": (_SOFT, "--annotation_scale=1"),
    "label_smoothing": (_SOFT, "--label_smoothing=0.1"),
    "scheduled_sampling": (_SOFT, "--scheduled_sampling=0.25"),
    "average": (_SOFT, "--ema=0.99"),
    "sharper": (_SOFT, _SHARPER),
    "hard": (_HARD,),
    "half_sampled": (_HARD, _HALF),
    "reinforce": (_HARD, "--gumbel_temperature=0"),
    "half_sampled_reinforce": (_HARD, _HALF, "--gumbel_temperature=0"),
    "sharper_hard": (_HARD, _SHARPER),
}
_MEASURES = ("BLEU-4", "METEOR", "CIDEr", "vocabulary")


def _trained(workdir: str, arguments: list[str]) -> dict:
    """Trains, unless that is done, and returns the scores."""
    scores = os.path.join(workdir, "scores.json")
    if not os.path.exists(scores):
        command = ["-m", "show_attend_tell.train", *arguments]
        command.append(f"--workdir={workdir}")
        print(" ".join(command), flush=True)
        with open(f"{workdir}.log", "a") as log:
            if subprocess.call(
                [sys.executable, *command], stdout=log, stderr=log
            ):
                raise SystemExit(f"error: see {workdir}.log")
    return read_json(scores)


def _row(name: str, runs: list[dict]) -> str:
    columns = []
    for measure in _MEASURES:
        values = [run.get(measure) for run in runs]
        if None in values:
            columns.append("")  # METEOR, where there is no Java.
            continue
        text = f"{statistics.mean(values):.3f}"
        if len(values) > 1:
            text += f" ({min(values):.3f} to {max(values):.3f})"
        columns.append(text)
    return f"| {name} | {len(runs)} | " + " | ".join(columns) + " |"


def main(arguments: list[str]) -> None:
    """Trains what is missing, then prints the table."""
    names = _ONLY.value or list(VARIATIONS)
    unknown = set(names) - set(VARIATIONS)
    if unknown:
        raise SystemExit(
            f"error: expected --only to be of {', '.join(VARIATIONS)}. "
            f"Received: {', '.join(sorted(unknown))}"
        )
    os.makedirs(_OUTPUT.value, exist_ok=True)
    # Seed by seed, so that all have one as early as can be.
    runs: dict[str, list[dict]] = {name: [] for name in names}
    for seed in _SEEDS.value:
        for name in names:
            workdir = os.path.join(_OUTPUT.value, f"{name}_{seed}")
            settings = [*VARIATIONS[name], *_BUDGET, f"--seed={seed}"]
            runs[name].append(_trained(workdir, [*settings, *arguments[1:]]))
    print("| | seeds | " + " | ".join(_MEASURES) + " |")
    print("|---" * (2 + len(_MEASURES)) + "|")
    for name in names:
        print(_row(name, runs[name]))


if __name__ == "__main__":
    app.run(main)
