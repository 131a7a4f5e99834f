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
    "pipelines.encoders.registry.convert_efficientnet_lite0",
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
    "pipelines.extraction_flags",
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

# Inside show_attend_tell a module imports its own level and those above it in
# this table. A new module is given its place here.
LEVELS = (
    {"layers", "losses", "scores", "config", "curves", "visualization"}
    | {"summaries", "weight_average", "rewards", "captions", "replicas"}
    | {"shipped"},
    {"hard_attention", "scheduled_sampling", "scoring", "serving", "steps"}
    | {"consensus"},
    {"model"},
    {"decoding"},
    {"captioning"},
    {"warm_start", "self_critical"},
    {"data", "grounding", "exporting"},
    {"sharded_captions"},
    {"truth", "report"},
    {"evaluation", "flags"},
    {"training", "run_report"},
    {"train", "caption", "caption_many", "client", "evaluate", "export"}
    | {"train_encoder"},
)

# What `pip install .` brings; a module may count on these.
CORE = {
    "PIL",
    "absl",
    "google",  # protobuf, which TensorFlow brings
    "h5py",  # which Keras brings
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
def own_modules() -> frozenset[str]:
    return frozenset(map(module_name, python_files(*PACKAGES)))


def imports_of(
    source: str, module: str, is_package: bool = False, place: str = "?"
) -> list[Import]:
    """Reads the imports of a file, relative ones made absolute."""
    package = module if is_package else module.rpartition(".")[0]
    found = []

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
                is_module = name in own_modules() or base == "absl"
                targets.append(name if is_module else base)
        for target in targets:
            line = f"{place}:{node.lineno}"
            found.append(Import(module, target, line, nested))
        inside = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        for child in ast.iter_child_nodes(node):
            visit(child, nested or inside)

    visit(ast.parse(source), False)
    return found


@functools.cache
def imports(*folders: str) -> tuple[Import, ...]:
    return tuple(
        found
        for path in python_files(*folders)
        for found in imports_of(
            path.read_text(encoding="utf-8"),
            module_name(path),
            path.name == "__init__.py",
            str(path.relative_to(ROOT)),
        )
    )


def level(module: str) -> int:
    """Returns the level of a module inside `show_attend_tell`."""
    parts = module.split(".")
    if len(parts) == 1:  # The package itself may gather its public names.
        return len(LEVELS) - 1
    for number, names in enumerate(LEVELS):
        if parts[1] in names:
            return number
    pytest.fail(
        f"{module} has no level yet: give it its place in LEVELS of {__file__}"
    )


def assert_none(broken: list) -> None:
    assert not broken, "\n".join(["", *map(str, broken)])


def test_imports_are_read_whole():
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
    found = imports_of(source, "show_attend_tell.sub.model")
    assert [(one.target, one.nested) for one in found] == [
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


def test_packages_are_found():
    assert {
        "pipelines.errors",
        "show_attend_tell.metrics.bleu",
    } <= own_modules()
    assert any(one.root == "pipelines" for one in imports("show_attend_tell"))


def test_pipelines_never_imports_show_attend_tell():
    assert_none(
        [one for one in imports("pipelines") if one.root == "show_attend_tell"]
    )


def test_layers_are_keras_alone():
    assert_none(
        [
            one
            for one in imports("show_attend_tell/layers")
            if one.root.startswith("tensorflow")
        ]
    )


def test_show_attend_tell_imports_downwards():
    assert_none(
        [
            one
            for one in imports("show_attend_tell")
            if one.root == "show_attend_tell"
            and level(one.target) > level(one.importer)
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


def test_nobody_imports_a_command():
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
        found = [one.target for one in at_once.get(module, [])]
        assert not {"keras", "tensorflow"} & {
            target.partition(".")[0] for target in found
        }, module
        new = {*found, package} & own_modules() - reached
        reached |= new
        todo += new
    assert "pipelines.commands" in reached


def test_core_needs_no_extra():
    own = {*PACKAGES, *sys.stdlib_module_names, *CORE}
    assert_none(
        [
            one
            for one in imports(*PACKAGES)
            if one.root not in own
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


def test_nobody_unpickles():
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


def test_pyproject_is_the_build_system_alone():
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
        "importlib_resources",
        "keras",
        "keras-nlp",
        "numpy",
        "pillow",
        "tensorflow",
        "tensorflow-datasets",
    }
