"""The page's phrases and boxes are those of the package."""

import json
import random
import shutil
import subprocess

import numpy as np
import pytest

from pipelines.noun_phrases import FOREIGN, PATTERN, WORDS, find_noun_phrases
from show_attend_tell.inference.caption_phrases import ground_phrases
from tests.conftest import ROOT

PAGE = ROOT / "examples" / "browser"


def run_node(script: str, value):
    """Returns what a script prints as JSON, with `value` as `input`."""
    node = shutil.which("node")
    if not node:
        pytest.skip("node is not installed")
    script = (
        "import {readFileSync} from 'fs';"
        "const input = JSON.parse(readFileSync(0, 'utf8'));"
        f"{script}"
    )
    done = subprocess.run(
        [node, "--input-type=module", "-e", script],
        input=json.dumps(value),
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def rows_of_words(count: int) -> list[list[str]]:
    generator = random.Random(0)
    words = [*" ".join(WORDS.values()).split(), *FOREIGN.split()]
    others = (
        "dog dogs man grass tennis runs flies watches studies smiling thing"
    )
    others += " covered red-haired café 狗 quickly gas this boxes painted"
    rows = []
    for _ in range(count):
        # As often of one kind as of another.
        kinds = generator.choices([*WORDS.values(), others, others], k=12)
        rows.append([generator.choice(kind.split()) for kind in kinds])
    return [[], *rows, *(generator.choices(words, k=9) for _ in range(count))]


def test_the_page_finds_the_same_phrases():
    words, foreign, pattern, phrases = run_node(
        f"import * as page from {str(PAGE / 'noun_phrases.js')!r};"
        "console.log(JSON.stringify([page.WORDS, page.FOREIGN, page.PATTERN,"
        "  input.map(page.findNounPhrases)]));",
        rows := rows_of_words(500),
    )
    assert (words, foreign, pattern) == (WORDS, FOREIGN, PATTERN)
    expected = [find_noun_phrases(row) for row in rows]
    assert [[tuple(span) for span in each] for each in phrases] == expected
    assert sum(map(len, expected)) > 500


@pytest.mark.parametrize("grid", [(14, 14), (7, 7), (5, 9), (1, 1)])
def test_the_page_makes_the_same_boxes(grid):
    words = "two dogs run on the grass with a ball in it".split()
    rng = np.random.default_rng(0)
    cases = []
    for sharpness in (0.5, 2, 5, 20):
        maps = rng.normal(size=(len(words), *grid))
        maps = np.exp(sharpness * maps)
        cases.append((maps / maps.sum((1, 2), keepdims=True)).astype("f4"))
    phrases = run_node(
        f"import {{groundPhrases}} from {str(PAGE / 'phrases.js')!r};"
        "const [words, cases, grid] = input;"
        "console.log(JSON.stringify(cases.map((maps) => groundPhrases("
        "  words, maps.map((map) => Float32Array.from(map)), grid))));",
        [words, [c.reshape(len(words), -1).tolist() for c in cases], grid],
    )
    for attention, each in zip(cases, phrases, strict=True):
        expected = ground_phrases(words, attention)
        assert len(expected) == 3
        for one, theirs in zip(each, expected, strict=True):
            assert (one["start"], one["stop"]) == (theirs.start, theirs.stop)
            assert one["box"] == pytest.approx(theirs.box)
            assert one["share"] == pytest.approx(theirs.attention)
