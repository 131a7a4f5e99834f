"""The layers on the other backends of Keras."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

from tests.conftest import ROOT


@pytest.mark.proof
@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_layers_pass_their_tests_on(backend):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed")
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "--tb=short"]
        + [str(pathlib.Path(__file__).parent)],
        env={**os.environ, "KERAS_BACKEND": backend},
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stdout
