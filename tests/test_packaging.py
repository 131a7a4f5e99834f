"""What pip makes of the repository."""

import pathlib
import shutil
import subprocess
import sys
import zipfile

import pytest

ROOT = pathlib.Path(__file__).resolve().parent.parent
PACKAGES = ("pipelines", "show_attend_tell")
ALONGSIDE = ("benchmarks", "examples", "tests")


@pytest.mark.proof
def test_wheel_holds_every_file_of_the_packages_and_no_other(tmp_path):
    # Built from a copy: setuptools leaves folders where it works.
    source = tmp_path / "source"
    ignore = shutil.ignore_patterns("__pycache__", "*.tmp-*")
    for name in (*PACKAGES, *ALONGSIDE):
        shutil.copytree(ROOT / name, source / name, ignore=ignore)
    for name in ("LICENSE", "README.md", "pyproject.toml", "setup.cfg"):
        shutil.copy(ROOT / name, source / name)
    expected = {
        path.relative_to(source).as_posix()
        for package in PACKAGES
        for path in (source / package).rglob("*")
        if path.is_file()
    }

    command = [sys.executable, "-m", "pip", "wheel", "--no-deps"]
    built = subprocess.run(
        [*command, "--wheel-dir", str(tmp_path), str(source)],
        capture_output=True,
        text=True,
    )
    assert built.returncode == 0, built.stderr
    (wheel,) = tmp_path.glob("*.whl")

    assert wheel.name.startswith("show_attend_tell-")
    names = zipfile.ZipFile(wheel).namelist()
    packed = {name for name in names if ".dist-info/" not in name}
    assert packed == expected
    assert any(name.endswith(".dist-info/licenses/LICENSE") for name in names)
