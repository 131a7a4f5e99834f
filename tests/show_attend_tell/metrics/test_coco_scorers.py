"""What becomes of SPICE's answers; figures are in test_caption_scores.

No Java runs here: a script in its place prints what is known of SPICE, whose
models are too large for a test.
"""

import json

import numpy as np
import pytest

from show_attend_tell.metrics import coco_scorers
from show_attend_tell.metrics.coco_scorers import spice
from show_attend_tell.metrics.external_programs import Unavailable

pytest.importorskip("pycocoevalcap.spice.spice")


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
    result = spice(["a", "b", "c"], [["x"], ["y"], ["z"]])
    np.testing.assert_array_equal(result.of_each()["SPICE"], [0.5, 0, 0.1])
    assert result.of_all()["SPICE"] == pytest.approx(0.2)


@pytest.mark.parametrize("content", ["", "{}", "[{}]", "[]", json.dumps([1])])
def test_spice_that_writes_something_else(java, spice_folder, content):
    java(f"import sys\nopen(sys.argv[-3], 'w').write({content!r})")
    with pytest.raises(Unavailable, match="SPICE wrote no scores"):
        spice(["a"], [["a"]])
