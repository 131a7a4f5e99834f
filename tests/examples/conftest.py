"""The page behind a local server, in one headless Chromium."""

import base64
import dataclasses
import functools
import http.server
import io
import pathlib
import re
import shutil
import subprocess
import threading

import numpy as np
import pytest
from PIL import Image

from pipelines.vocabulary import SPECIAL, Vocabulary
from show_attend_tell.inference.tflite_file import append_tail, read_tflite
from tests.chromium import chromium
from tests.conftest import ROOT
from tests.examples.native_runtime import MODEL, NativeRuntime
from tests.tflite_files import model_of

PAGE = ROOT / "examples" / "browser"
# A name of this machine from which pages are not secure, unlike localhost.
INSECURE = "captions.test"
OFFLINE = re.compile("ENOTFOUND|EAI_AGAIN|ECONNREFUSED|ETIMEDOUT|ENOTCACHED")


@pytest.fixture(scope="session")
def native() -> NativeRuntime:
    return NativeRuntime()


@pytest.fixture(scope="session")
def polyglot(tmp_path_factory) -> pathlib.Path:
    """The model, with words of scripts with spaces and without."""
    settings, vocabulary, _ = read_tflite(MODEL)
    kinds = [lambda n, word: word] + [
        lambda n, word, first=first: chr(first + n)
        for first in (0x4E00, 0x20000, 0xAC00)
    ]
    words = vocabulary.words[len(SPECIAL) :]
    words = Vocabulary([kinds[n % 4](n, w) for n, w in enumerate(words)])
    path = tmp_path_factory.mktemp("polyglot") / MODEL.name
    path.write_bytes(model_of(MODEL))
    settings = dataclasses.replace(settings, vocabulary_digest=words.digest)
    append_tail(path, settings, words)
    return path


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> pathlib.Path:
    """The page as its README installs it, and the model."""
    if not shutil.which("npm"):
        pytest.skip("npm is not installed")
    site = tmp_path_factory.mktemp("site")
    page = site / "examples" / "browser"
    ignore = shutil.ignore_patterns("node_modules", "vendor")
    shutil.copytree(PAGE, page, ignore=ignore)
    (site / "savedmodels").mkdir()
    shutil.copy(MODEL, site / "savedmodels")
    done = subprocess.run(
        ["npm", "ci", "--prefer-offline", "--no-audit", "--no-fund"],
        cwd=page,
        capture_output=True,
        text=True,
    )
    if done.returncode and OFFLINE.search(done.stderr):
        pytest.skip("npm cannot get @litertjs/core: no network")
    assert done.returncode == 0, done.stderr
    index = (PAGE / "index.html").read_text(encoding="utf-8")
    (policy,) = re.findall('<meta http-equiv="Content-Sec[^>]*>', index)
    (page / "empty.html").write_text(f"<!doctype html>{policy}")
    return site


class _Handler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        self.server.requests.append(f"{self.command} {self.path}")


@pytest.fixture(scope="session")
def serve():
    """Starts servers of folders, which record their requests."""
    servers = []

    def start(folder: pathlib.Path) -> http.server.ThreadingHTTPServer:
        handler = functools.partial(_Handler, directory=folder)
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
        server.requests = []
        server.address = f"http://127.0.0.1:{server.server_port}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return server

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.fixture(scope="session")
def server(serve, site):
    return serve(site)


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    profile = tmp_path_factory.mktemp("profile")
    flags = [f"--use-fake-{x}-for-media-stream" for x in ("device", "ui")]
    flags += [f"--host-resolver-rules=MAP {INSECURE} 127.0.0.1"]
    with chromium(profile, *flags) as browser:
        browser.set_script_timeout(60)
        yield browser


@pytest.fixture(scope="session")
def run_script(browser):
    """Runs the body of an asynchronous JavaScript function.

    It takes `values`, where bytes are base64, and can call `bytes(text)`,
    `base64(array)` and `load(name)` of a module of the page.
    """

    def run(script: str, *values):
        result = browser.execute_async_script(
            "const [values, done] = arguments;"
            "const bytes = (text) => Uint8Array.from(atob(text),"
            "  (character) => character.charCodeAt(0));"
            "const base64 = (array) => { let text = ''; for (const byte of"
            "  array) text += String.fromCharCode(byte); return btoa(text); };"
            "const load = (name) => import(`/examples/browser/${name}.js`);"
            f"(async (...values) => {{ {script} }})(...values).then("
            "  (value) => done({value}),"
            "  (error) => done({error: `${error.name}: ${error.message}`}));",
            [
                base64.b64encode(one).decode()
                if isinstance(one, bytes)
                else one
                for one in values
            ],
        )
        if "error" in result:
            raise RuntimeError(result["error"])
        return result["value"]

    return run


def pictures(size: int) -> list[np.ndarray]:
    """Returns smooth colours, noise and one colour."""
    rng = np.random.default_rng(0)
    few = rng.integers(0, 256, (3, 5, 5, 3)).astype(np.uint8)
    smooth = [
        np.asarray(Image.fromarray(one).resize((size, size), kind))
        for one, kind in zip(few, (0, 2, 3), strict=True)
    ]
    noise = rng.integers(0, 256, (size, size, 3)).astype(np.uint8)
    return [*smooth, noise, np.full((size, size, 3), 128, np.uint8)]


def encoded(image: np.ndarray, kind: str, **options) -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, kind, **options)
    return file.getvalue()
