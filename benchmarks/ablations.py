r"""What each ingredient brings: short trainings that differ in one thing.

    python -m benchmarks.ablations --output=ablations --seeds=0,1,2 \
        --only=recipe,no_gate -- --data_dir=FLICKR8K --encoder=vgg16 \
        --annotations=annotations/flickr8k

What stands behind `--` is given to every training. A training that is done is
not repeated, and one that was stopped goes on, so that the command can be
stopped and given again; the table has all that is done.
"""

import json
import os
import statistics
import subprocess
import sys

from absl import app, flags

_OUTPUT = flags.DEFINE_string("output", "ablations", "Folder of the runs.")
_SEEDS = flags.DEFINE_list("seeds", ["0"], "Seeds of each training.")
_ONLY = flags.DEFINE_list("only", [], "Trainings, by name; by default all.")

# Minutes, not an hour: a third of Flickr8k's photos.
_BUDGET = (
    "--recipe=flickr8k_soft", "--train_images=2000", "--epochs=5",
    "--pictures=0",
)
VARIATIONS = {
    "recipe": (),
    "no_gate": ("--gate=none",),
    "vector_gate": ("--gate=vector",),
    "no_penalty": ("--regularizer_weight=0",),
    "penalty_as_sum": (
        "--regularizer_normalization=sum", "--regularizer_weight=0.1",
    ),
    "linear_output": ("--activation=linear",),
    "attention_of_128": ("--attention_units=128",),
    "attention_of_512": ("--attention_units=512",),
    "no_dropout": ("--dropout=0",),
    "dropout_of_0.3": ("--dropout=0.3",),
    "one_length": ("--batching=length", "--length_step=2"),
    "unscaled": ("--annotation_scale=1",),
    "label_smoothing": ("--label_smoothing=0.1",),
    "scheduled_sampling": ("--scheduled_sampling=0.25",),
    "average": ("--ema=0.99",),
    "sharper": ("--attention_temperature=0.25",),
    "reinforce": ("--attention=hard", "--regularizer_weight=0"),
    "gumbel": (
        "--attention=hard", "--regularizer_weight=0", "--relaxation=1",
    ),
    "sharper_gumbel": (
        "--attention=hard", "--regularizer_weight=0", "--relaxation=1",
        "--attention_temperature=0.25",
    ),
}
_MEASURES = ("BLEU-4", "METEOR", "CIDEr", "vocabulary")


def _scores(workdir: str) -> dict | None:
    """Reads the scores of a training, if it is done."""
    path = os.path.join(workdir, "scores.json")
    if not os.path.exists(path):
        return None
    with open(path) as file:
        return json.load(file)


def _train(workdir: str, seed: str, arguments: list[str]) -> None:
    """Trains, unless that is done; what it prints goes into a file."""
    if _scores(workdir):
        return
    os.makedirs(_OUTPUT.value, exist_ok=True)
    command = [
        sys.executable, "-m", "show_attend_tell.train", *_BUDGET,
        *arguments, f"--seed={seed}", f"--workdir={workdir}",
    ]
    print(" ".join(command[1:]), flush=True)
    with open(f"{workdir}.log", "a") as log:
        if subprocess.call(command, stdout=log, stderr=log):
            raise SystemExit(f"error: see {workdir}.log")


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
    # Seed by seed, so that a table of all is there as early as can be.
    for seed in _SEEDS.value:
        for name in names:
            workdir = os.path.join(_OUTPUT.value, f"{name}_{seed}")
            _train(workdir, seed, [*VARIATIONS[name], *arguments[1:]])
    print("| | seeds | " + " | ".join(_MEASURES) + " |")
    print("|---" * (2 + len(_MEASURES)) + "|")
    for name in names:
        runs = [
            scores
            for seed in _SEEDS.value
            if (scores := _scores(f"{_OUTPUT.value}/{name}_{seed}"))
        ]
        print(_row(name, runs))


if __name__ == "__main__":
    app.run(main)
