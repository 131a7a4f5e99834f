"""Every host writes words as the pipeline does."""

import json
import random
import re
import runpy
import shutil
import subprocess

import pytest

from pipelines.words import UNSPACED, join_words
from tests.conftest import ROOT

HOSTS = ("android/Captioner.kt", "browser/words.js", "cpp/caption.cc")
PYTHON = "python/captioner.py"
EXAMPLES = ROOT / "examples"


@pytest.mark.parametrize("host", [*HOSTS, PYTHON])
def test_scripts_without_spaces_are_the_same(host):
    source = (EXAMPLES / host).read_text(encoding="utf-8")
    pairs = re.findall(r"0x([0-9A-F]+)(?:, |\.\.)0x([0-9A-F]+)[^;]", source)
    assert [(int(a, 16), int(b, 16)) for a, b in pairs] == [*UNSPACED]


def rows_of_words() -> list[list[str]]:
    edges = [chr(code) for pair in UNSPACED for code in pair]
    others = [chr(code + step) for code in map(ord, edges) for step in (-1, 1)]
    words = [*edges, *others, "a", "dog's", "น้ำ", "가", "<unk>", "๑๒"]
    generator = random.Random(0)
    return [[], *([word] for word in words)] + [
        generator.choices(words, k=9) for _ in range(500)
    ]


def test_browser_joins_as_python():
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    script = (
        "import {readFileSync} from 'fs';"
        f"import {{joinWords}} from {str(EXAMPLES / 'browser/words.js')!r};"
        "const rows = JSON.parse(readFileSync(0, 'utf8'));"
        "console.log(JSON.stringify(rows.map(joinWords)));"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-e", script],
        input=json.dumps(rows_of_words()),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    joined = json.loads(done.stdout)
    for words, one in zip(rows_of_words(), joined, strict=True):
        assert one["text"] == join_words(words)
        units = one["text"].encode("utf-16-le")
        for word, start in zip(words, one["starts"], strict=True):
            assert units[2 * start :].decode("utf-16-le").startswith(word)


def test_the_file_to_copy_joins_as_the_package():
    pytest.importorskip("ai_edge_litert")
    host = runpy.run_path(str(EXAMPLES / PYTHON))
    for words in rows_of_words():
        assert host["join_words"](words) == join_words(words)
