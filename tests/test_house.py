"""Holds the rules of the house by reading the code, without importing it."""

import ast
import configparser
import dataclasses
import functools
import graphlib
import pathlib
import re
import sys

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("pipelines", "show_attend_tell")

# Run with `python -m`; libraries may not import them, nor may they each other.
COMMANDS = {
    "pipelines.encoders.convert_efficientnet_lite0",
    "pipelines.extract_features",
    "pipelines.extract_many",
    "show_attend_tell.caption",
    "show_attend_tell.caption_many",
    "show_attend_tell.client",
    "show_attend_tell.evaluate",
    "show_attend_tell.export",
    "show_attend_tell.train",
    "show_attend_tell.train_encoder",
}

# They and what lies between flags and libraries may read flags.
FLAGS = {
    "pipelines.commands",
    "show_attend_tell.configs.flags",
}

# They tell help, and mistakes in flags, before TensorFlow is there.
QUICK = {
    "pipelines.extract_features",
    "pipelines.extract_many",
    "show_attend_tell.client",
    "show_attend_tell.evaluate",
    "show_attend_tell.train",
}

# Inside show_attend_tell, imports run down these floors only. What stands on
# one floor does not import its neighbours.
FLOORS = (
    {"configs", "layers", "metrics"},
    {"model"},
    {"decoding"},
    {"objectives"},
    {"inference"},
    {"evaluation", "exporting", "serving"},
    {"training"},
)

# What `pip install .` brings; a module may count on these.
CORE = {
    "PIL",
    "absl",
    "array_record",
    "google",  # protobuf, which TensorFlow brings
    "h5py",  # which Keras brings
    "ijson",
    "keras",
    "keras_hub",
    "keras_nlp",
    "numpy",
    "tensorflow",
    "tensorflow_datasets",
}
# What extras bring; only inside the function that needs it.
OPTIONAL = {"ai_edge_litert", "ai_edge_quantizer", "grpc", "pycocoevalcap"}
OPTIONAL |= {"tensorflow_serving", "torch"}
# Required, but too slow for every command to wait for.
OPTIONAL |= {"matplotlib"}

# These stand on Apache Beam as a whole, and are themselves imported by others
# only inside the function that needs them.
ON_BEAM = ("pipelines.sharded", "show_attend_tell.inference.sharded_captions")

# They run code from the file that they read.
UNSAFE = {"cPickle", "cloudpickle", "dill", "joblib", "marshal", "pickle"}
UNSAFE |= {"shelve", "_pickle"}
# One test pickles what it has just made, as a process pool would.
MAY_PICKLE = {"tests.pipelines.sources.test_scenes"}


@dataclasses.dataclass(frozen=True)
class Import:
    """One imported name.

    Attributes:
        importer: Dotted name of the importing module.
        target: Dotted name of what is imported; of the module, where a name
            is taken from one. Modules taken from a package are known in this
            repository and in absl.
        place: File and line, for messages.
        nested: Whether the import stands inside a function.
    """

    importer: str
    target: str
    place: str
    nested: bool

    @property
    def root(self) -> str:
        return self.target.partition(".")[0]

    def __str__(self):
        return f"{self.place}: {self.importer} imports {self.target}"


def python_files(*folders: str) -> list[pathlib.Path]:
    return sorted(
        path for folder in folders for path in (ROOT / folder).rglob("*.py")
    )


def module_name(path: pathlib.Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@functools.cache
def project_modules() -> frozenset[str]:
    return frozenset(map(module_name, python_files(*PACKAGES)))


def imports_of(
    source: str, module: str, is_package: bool = False, place: str = "?"
) -> list[Import]:
    """Reads the imports of a file, relative ones made absolute."""
    package = module if is_package else module.rpartition(".")[0]
    statements = []

    def visit(node: ast.AST, nested: bool) -> None:
        targets = []
        if isinstance(node, ast.Import):
            targets = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                above = package.split(".")
                above = above[: len(above) - node.level + 1]
                base = ".".join([*above, *filter(None, [base])])
            for alias in node.names:
                name = f"{base}.{alias.name}"
                is_module = name in project_modules() or base == "absl"
                targets.append(name if is_module else base)
        for target in targets:
            line = f"{place}:{node.lineno}"
            statements.append(Import(module, target, line, nested))
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, nested or inside)

    visit(ast.parse(source), False)
    return statements


@functools.cache
def imports(*folders: str) -> tuple[Import, ...]:
    return tuple(
        one
        for path in python_files(*folders)
        for one in imports_of(
            path.read_text(encoding="utf-8"),
            module_name(path),
            path.name == "__init__.py",
            str(path.relative_to(ROOT)),
        )
    )


def room(module: str) -> str:
    """Returns the sub-package or module of `show_attend_tell` it lies in."""
    return (module.split(".") + [""])[1]


def floor(module: str) -> int:
    """Returns the floor of a module; commands and `__init__` are on top."""
    for number, rooms in enumerate(FLOORS):
        if room(module) in rooms:
            return number
    assert module in COMMANDS | {"show_attend_tell"}, (
        f"{module} has no floor yet: give it its place in FLOORS"
    )
    return len(FLOORS)


def assert_none(broken: list) -> None:
    assert not broken, "\n".join(["", *map(str, broken)])


def test_imports_are_read_completely():
    # The reader itself, on each way to write an import.
    source = (
        "import os.path, show_attend_tell.train as t\n"
        "from pipelines import errors, nothing\n"
        "from absl import flags\n"
        "from . import layers\n"
        "from .. import above\n"
        "from .layers.any import Thing\n"
        "def f():\n    import pickle\n"
    )
    statements = imports_of(source, "show_attend_tell.sub.model")
    assert [(one.target, one.nested) for one in statements] == [
        ("os.path", False),
        ("show_attend_tell.train", False),
        ("pipelines.errors", False),
        ("pipelines", False),
        ("absl.flags", False),
        ("show_attend_tell.sub", False),
        ("show_attend_tell", False),
        ("show_attend_tell.sub.layers.any", False),
        ("pickle", True),
    ]


def test_packages_are_read():
    assert {
        "pipelines.errors",
        "show_attend_tell.metrics.bleu",
    } <= project_modules()
    assert any(one.root == "pipelines" for one in imports("show_attend_tell"))


def test_pipelines_never_imports_show_attend_tell():
    assert_none(
        [one for one in imports("pipelines") if one.root == "show_attend_tell"]
    )


def test_layers_need_only_keras():
    assert_none(
        [
            one
            for one in imports("show_attend_tell/layers")
            if one.root.startswith("tensorflow") and not one.nested
        ]
    )


def test_show_attend_tell_imports_downwards():
    assert_none(
        [
            one
            for one in imports("show_attend_tell")
            if one.root == "show_attend_tell"
            and room(one.target) != room(one.importer)
            and floor(one.target) >= floor(one.importer)
        ]
    )


def test_no_import_runs_in_a_circle():
    graph = {}
    for one in imports(*PACKAGES):
        if one.target != one.importer and one.root in PACKAGES:
            graph.setdefault(one.importer, set()).add(one.target)
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        pytest.fail(" imports ".join(reversed(error.args[1])))


def test_no_module_imports_a_command():
    everything = imports(*PACKAGES, "benchmarks", "examples", "tests")
    assert_none([one for one in everything if one.target in COMMANDS])


def test_only_commands_read_flags():
    assert_none(
        [
            one
            for one in imports(*PACKAGES)
            if one.importer not in COMMANDS | FLAGS
            and (
                one.target in FLAGS | {"absl.flags", "absl.app"}
                or one.root == "argparse"
            )
        ]
    )


@pytest.mark.parametrize("command", sorted(QUICK))
def test_help_does_not_wait_for_tensorflow(command):
    at_once, reached = {}, {command}
    for one in imports(*PACKAGES):
        if not one.nested:
            at_once.setdefault(one.importer, []).append(one)
    todo = [command]
    while todo:
        module = todo.pop()
        package = module.rpartition(".")[0]
        targets = [one.target for one in at_once.get(module, [])]
        assert not {"keras", "tensorflow"} & {
            target.partition(".")[0] for target in targets
        }, module
        new = {*targets, package} & project_modules() - reached
        reached |= new
        todo += new
    assert "pipelines.commands" in reached


def test_core_needs_no_extra():
    allowed = {*PACKAGES, *sys.stdlib_module_names, *CORE}
    assert_none(
        [
            one
            for one in imports(*PACKAGES)
            if one.root not in allowed
            and not (one.nested and one.root in OPTIONAL)
            and not (one.root == "apache_beam" and on_beam(one.importer))
        ]
    )


def test_beam_is_imported_where_it_is_needed():
    assert_none(
        [
            one
            for one in imports(*PACKAGES)
            if on_beam(one.target) and not (one.nested or on_beam(one.importer))
        ]
    )


def on_beam(module: str) -> bool:
    return any(f"{module}.".startswith(f"{one}.") for one in ON_BEAM)


def test_no_module_unpickles():
    everything = imports(*PACKAGES, "benchmarks", "examples", "tests")
    assert_none(
        [
            one
            for one in everything
            if one.root in UNSAFE and one.importer not in MAY_PICKLE
        ]
    )


def test_numpy_never_unpickles():
    broken = []
    for path in python_files(*PACKAGES, "benchmarks", "examples"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.keyword) and node.arg == "allow_pickle":
                if getattr(node.value, "value", None) is not False:
                    broken.append(f"{path.relative_to(ROOT)}:{node.lineno}")
    assert_none(broken)


def test_no_file_is_a_drawer():
    assert_none([path for path in ROOT.glob("*/**/utils.py") if ours(path)])


def ours(path: pathlib.Path) -> bool:
    """Whether a file lies outside virtual environments and build folders."""
    first = path.relative_to(ROOT).parts[0]
    return not first.startswith(".") and first not in {"build", "dist"}


def test_readme_states_what_ci_runs():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    (command,) = re.findall(r'^readme_tests="(.+)"$', script, re.MULTILINE)
    assert 'bash -c "$readme_tests"' in script
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    lines = [line.strip() for line in readme.splitlines()]
    assert command in lines, f"README.md has no line of its own: {command}"


def test_pyproject_is_only_the_build_system():
    lines = (ROOT / "pyproject.toml").read_text(encoding="utf-8").splitlines()
    assert len(lines) == 3
    assert lines[0] == "[build-system]"


def test_requirements_are_those_that_code_counts_on():
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg", encoding="utf-8")
    required = {
        re.split(r"[<>=~! ]", line)[0]
        for line in setup["options"]["install_requires"].split("\n")
        if line
    }
    assert required == {
        "absl-py",
        "array-record",
        "ijson",
        "importlib_resources",
        "keras",
        "keras-nlp",
        "matplotlib",
        "numpy",
        "pillow",
        "tensorflow",
        "tensorflow-datasets",
    }


# Words that this project used and the field does not, each with the field's.
DIALECT = {
    "speaker": "caption_generator",
    "told": "format, describe",
    "said": "generated, captions",
    "says": "generates",
    "chance": "noise, random",
    "drawn": "sampled, rendered",
    "draws": "samples",
    "looking": "context_weights",
    "looks": "attention_steps",
    "places": "locations",
    "pace": "learning_rate_multiplier",
    "alone": "single",
    "nobody": "empty_tokens",
    "silence": "mask_tokens",
    "relaxation": "gumbel_temperature",
    "geometry": "resize_mode",
    "gate.py": "validation.py",
    "beside": "alongside, side_by_side",
    "own": "the noun that it stands for",
    "chooser": "reranker",
    "lit": "overlay",
    "known": "training_captions",
    "found": "the noun that it stands for",
    "whole": "complete, entire",
    "hostile": "malformed, untrusted",
}
# These are the field's, too, as a part of a longer name.
DIALECT_AS_A_NAME = {
    "agreed": "rerank",
    "chain": "greedy_or_sample",
    "compute": "dtype_policy",
    "forget": "forget_gate",
    "into": "input_gate",
    "look": "context_mode",
    "out": "output_gate",
    "pick": "gather",
    "put": "scatter_update",
    "speak": "decode",
    "banned_repeat": "no_repeat_ngram_size",
    "device_gate": "tflite_validation",
    "expectation_share": "soft_attention_probability",
    "fit_scale": "fit_annotation_scale",
    "in_rows": "grid",
    "length_exponent": "length_penalty",
    "take_scale": "copy_annotation_scale",
}


def names_given(tree: ast.AST) -> set[str]:
    """Returns every name that a file gives to something."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.arg):
            names.add(node.arg)
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Store):
                names.add(node.attr)
        elif isinstance(node, ast.alias) and node.asname:
            names.add(node.asname)
    return names


def dialect_in(name: str) -> list[str]:
    """Returns the words of a name that have a better one in the field."""
    snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower().strip("_")
    words = dict.fromkeys([*snake.split("_"), snake])
    return [
        word
        for word in words
        if word in DIALECT or (word == snake and word in DIALECT_AS_A_NAME)
    ]


def test_names_are_the_fields():
    assert dialect_in("_best_said") == ["said"]
    assert dialect_in("ToldSpeaker") == ["told", "speaker"]
    assert dialect_in("forget_bias") == dialect_in("input_gate") == []
    broken = []
    for path in python_files(*PACKAGES, "benchmarks", "examples", "tests"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        for name in sorted({path.stem} | names_given(tree)):
            broken += [
                f"{path.relative_to(ROOT)}: {name} -> "
                f"{DIALECT.get(word) or DIALECT_AS_A_NAME[word]}"
                for word in dialect_in(name)
            ]
    assert_none(broken)
