"""A script in the place of Java."""

import sys

import pytest


@pytest.fixture
def java(tmp_path, monkeypatch):
    """Puts a Python script in the place of Java, as the only program."""
    pytest.importorskip("pycocoevalcap")

    def write(script: str, program: str = sys.executable) -> None:
        path = tmp_path / "java"
        path.write_text(f"#!{program}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return write
