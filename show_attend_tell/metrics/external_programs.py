"""Programs that scores need: those of pycocoevalcap, and Java to run them."""

import os
import shutil
import subprocess
from collections.abc import Sequence


class Unavailable(Exception):
    """A program cannot run here; says why and what mends it."""


def pycocoevalcap_folder(part: str) -> str:
    """Returns the folder of a part of pycocoevalcap, such as `"meteor"`."""
    try:
        import pycocoevalcap
    except ImportError as error:
        raise Unavailable(
            "pycocoevalcap is not installed; install it by: "
            "pip install '.[eval]'"
        ) from error
    return os.path.join(next(iter(pycocoevalcap.__path__)), part)


def run_java(
    name: str,
    arguments: Sequence[str],
    text: str = "",
    memory: str = "2G",
    seconds: float = 600,
    folder: str | None = None,
) -> str:
    """Runs a Java program to its end; it never outlives this call.

    Args:
        name: What to call it in messages.
        arguments: From `-jar` or `-cp` on.
        text: Its standard input.
        memory: The largest heap, as for `-Xmx`.
        seconds: The longest time that it may run.
        folder: Where it runs.

    Returns:
        Its standard output.

    Raises:
        Unavailable: There is no Java, or the program failed or ran too long.
    """
    java = shutil.which("java")
    if java is None:
        raise Unavailable(
            "Java was not found on the PATH; install a Java runtime, such as "
            "by: apt-get install default-jre-headless"
        )
    utf8 = ("-Dfile.encoding=UTF-8", "-Dstdout.encoding=UTF-8")
    try:
        done = subprocess.run(
            [java, f"-Xmx{memory}", *utf8, *arguments],
            input=text.encode("utf-8", "replace"),
            capture_output=True,
            timeout=seconds,
            cwd=folder,
        )
    except subprocess.TimeoutExpired as error:
        raise Unavailable(
            f"{name} did not end in {seconds:.0f} seconds and was stopped"
        ) from error
    except OSError as error:
        raise Unavailable(f"Java does not run: {error}") from error
    if done.returncode:
        message = done.stderr.decode("utf-8", "replace").strip()[-300:]
        raise Unavailable(
            f"{name} failed in Java with status {done.returncode}: {message}"
        )
    return done.stdout.decode("utf-8", "replace")
