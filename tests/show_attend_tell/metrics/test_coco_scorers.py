"""What becomes of the programs' answers; figures are in test_metrics.

No Java runs here: a script in its place prints what is known of METEOR, and
of SPICE, whose models are too large for a test.
"""

import json
import sys

import numpy as np
import pytest

from show_attend_tell.metrics import coco_scorers
from show_attend_tell.metrics.coco_scorers import cider, meteor, rouge_l, spice
from show_attend_tell.metrics.external_programs import Unavailable

pytest.importorskip("pycocoevalcap.meteor.meteor")


@pytest.fixture
def java(tmp_path, monkeypatch):
    def write(script: str) -> None:
        path = tmp_path / "java"
        path.write_text(f"#!{sys.executable}\n{script}\n")
        path.chmod(0o755)
        monkeypatch.setenv("PATH", str(tmp_path))

    return write


def counts(*numbers: int) -> str:
    return " ".join(f"{number:.1f}" for number in numbers)


def test_meteor_by_hand(java):
    # "a dog runs quickly" for "a dog runs on the grass": two content words
    # and one function word match, in one piece. Content words weigh 0.75,
    # function words 0.25:
    #   precision (2 * 0.75 + 0.25) / (3 * 0.75 + 1 * 0.25) = 0.7
    #   recall    (2 * 0.75 + 0.25) / (3 * 0.75 + 3 * 0.25) = 0.58333
    #   mean      1 / (0.15 / 0.7 + 0.85 / 0.58333) = 0.598291
    #   penalty   0.6 * (1 / 3) ** 0.2 = 0.481645
    # The same caption as its reference is whole: no penalty. Nothing: zero.
    lines = [
        counts(4, 6, 1, 3, 2, 2, 1, 1, *[0] * 12, 1, 3, 3),
        counts(2, 2, 1, 1, 1, 1, 1, 1, *[0] * 12, 1, 2, 2),
        counts(0, 3, 0, 1, *[0] * 16, 0, 0, 0),
    ]
    java(f"print({chr(10).join(lines)!r})")
    found = meteor(["a"] * 3, [["b"]] * 3)
    np.testing.assert_allclose(
        found.of_each()["METEOR"], [0.598291 * (1 - 0.481645), 1, 0], atol=1e-6
    )


def test_meteor_gets_a_line_for_each_caption(java, tmp_path):
    java(
        "import sys\n"
        f"open({str(tmp_path / 'seen')!r}, 'w').write(sys.stdin.read())\n"
        f"print({counts(*[0] * 23)!r})\nprint({counts(*[0] * 23)!r})"
    )
    meteor(["a ||| dog", ""], [["x", "y ||| z"], ["w"]])
    assert (tmp_path / "seen").read_text().split("\n") == [
        "SCORE ||| x ||| y  z ||| a  dog",
        "SCORE ||| w ||| ",
        "",
    ]


@pytest.mark.parametrize(
    "printed", ["1.0 2.0", "Error: specify hypothesis", "", "x " * 23]
)
def test_meteor_that_prints_something_else(java, printed):
    java(f"print({printed!r})")
    with pytest.raises(Unavailable, match="METEOR printed"):
        meteor(["a"], [["a"]])


def test_all_references_count():
    candidates, others = ["a dog runs"] * 2, ["a cat"]
    few = [["x y z"] * 9, others]
    last = [["x y z"] * 9 + ["a dog runs"], others]
    for scorer in (rouge_l, cider):
        before = next(iter(scorer(candidates, few).of_each().values()))
        after = next(iter(scorer(candidates, last).of_each().values()))
        assert before[0] == 0 < after[0]


def test_cider_of_two_captions_that_are_right():
    # All of 1- to 4-grams alike: 10 for each, the highest.
    found = cider(["a b c d", "e f g h"], [["a b c d"], ["e f g h"]])
    assert found.of_all()["CIDEr"] == pytest.approx(10)


def test_spice_downloads_nothing(monkeypatch):
    from pycocoevalcap.spice import get_stanford_models

    def never(*_, **__):
        raise AssertionError("a download")

    monkeypatch.setattr(get_stanford_models, "urlretrieve", never)
    monkeypatch.setattr(get_stanford_models, "JAR", "not-there")
    with pytest.raises(
        Unavailable, match="not-there.jar.*python -m pycocoevalcap.spice"
    ):
        spice(["a"], [["a"]])


@pytest.fixture
def spice_folder(tmp_path, monkeypatch):
    """A folder with the names of the models in it."""
    from pycocoevalcap.spice.get_stanford_models import JAR

    (tmp_path / "lib").mkdir()
    for end in (".jar", "-models.jar"):
        (tmp_path / "lib" / f"{JAR}{end}").touch()
    monkeypatch.setattr(
        coco_scorers, "pycocoevalcap_folder", lambda part: str(tmp_path)
    )


def test_spice_is_read_by_image(java, spice_folder):
    java(
        "import json, sys\n"
        "given, out = sys.argv[-5], sys.argv[-3]\n"
        "entries = json.load(open(given))\n"
        "assert entries[1] == {'image_id': 1, 'test': 'b', 'refs': ['y']}\n"
        "scores = [{'image_id': e['image_id'], 'scores': {'All': {'f':\n"
        "    [0.5, None, 0.1][e['image_id']]}}} for e in entries[::-1]]\n"
        "json.dump(scores, open(out, 'w'))"
    )
    found = spice(["a", "b", "c"], [["x"], ["y"], ["z"]])
    np.testing.assert_array_equal(found.of_each()["SPICE"], [0.5, 0, 0.1])
    assert found.of_all()["SPICE"] == pytest.approx(0.2)


@pytest.mark.parametrize("content", ["", "{}", "[{}]", "[]", json.dumps([1])])
def test_spice_that_writes_something_else(java, spice_folder, content):
    java(f"import sys\nopen(sys.argv[-3], 'w').write({content!r})")
    with pytest.raises(Unavailable, match="SPICE wrote no scores"):
        spice(["a"], [["a"]])
