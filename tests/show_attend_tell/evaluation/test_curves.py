"""Training curves, read back from their SVG."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from show_attend_tell.evaluation.curves import draw_curves, has_curves

SVG = "{http://www.w3.org/2000/svg}"
HISTORY = [
    {"epoch": 1, "BLEU-4": 0.2},
    {"epoch": 2, "BLEU-4": 0.5},
    {"epoch": 3, "BLEU-4": 0.5},
    {"epoch": 4, "BLEU-4": 0.4},
]


def draw(history) -> ElementTree.Element:
    return ElementTree.fromstring(draw_curves(history))


def texts(svg: ElementTree.Element) -> list[str]:
    return [text.text for text in svg.iter(f"{SVG}text")]


def groups(svg: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return [g for g in svg.iter(f"{SVG}g") if g.get("id") == name]


def points(group: ElementTree.Element) -> list[tuple[float, float]]:
    """The points of a path, in pixels."""
    path = group.find(f"{SVG}path").get("d")
    numbers = re.findall(r"[ML] ([\d.]+) ([\d.]+)", path)
    return [(float(x), float(y)) for x, y in numbers]


def test_points_lie_in_proportion():
    (curve,) = groups(draw(HISTORY), "curve")
    xs, ys = zip(*points(curve), strict=True)
    assert xs[3] - xs[2] == pytest.approx(xs[1] - xs[0], abs=0.01)
    assert ys[1] == ys[2]
    ratio = (ys[0] - ys[1]) / (ys[3] - ys[2])
    assert ratio == pytest.approx(3, abs=0.01)


def test_the_first_of_the_best_epochs_is_marked_in_every_panel():
    history = [{**e, "true_captions": 1 - e["BLEU-4"]} for e in HISTORY]
    svg = draw(history)
    assert {"0.500 at epoch 2", "BLEU-4", "True captions"} <= {*texts(svg)}
    marks = groups(svg, "best")
    for mark, curve in zip(marks, groups(svg, "curve"), strict=True):
        use = next(mark.iter(f"{SVG}use"))
        position = float(use.get("x")), float(use.get("y"))
        assert position == pytest.approx(points(curve)[1], abs=0.01)


def test_cider_d_chooses_where_a_run_has_it():
    history = [{**e, "CIDEr-D": e["epoch"] / 3} for e in HISTORY]
    assert {"0.400 at epoch 4", "1.333 at epoch 4"} <= {*texts(draw(history))}


def test_a_missing_score_is_a_gap():
    values = (0.1, 0.2, float("nan"), 0.3, None, 0.4)
    svg = draw([{"BLEU-4": value, "words": 9.0} for value in values])
    (curve,) = groups(svg, "curve")
    path = curve.find(f"{SVG}path").get("d")
    assert path.count("M") == 3
    assert len(points(curve)) == 4


def test_random_pointing_is_a_line_at_its_height():
    svg = draw(
        [
            {"pointing_accuracy": accuracy, "pointing_chance": 0.25}
            for accuracy in (0.25, 0.75)
        ]
    )
    (baseline,), (curve,) = groups(svg, "baseline"), groups(svg, "curve")
    assert {y for _, y in points(baseline)} == {points(curve)[0][1]}
    assert "random" in texts(svg)


@pytest.mark.parametrize("epochs", [1, 2, 100])
def test_ticks_are_integer_epochs_inside_the_axes(epochs):
    svg = draw([{"BLEU-4": n / 100} for n in range(epochs)])
    _, _, width, height = map(float, svg.get("viewBox").split())
    labels = texts(svg)
    assert {int(t) for t in labels[: labels.index("epoch")]} <= {*range(102)}
    for text in svg.iter(f"{SVG}text"):
        assert 0 <= float(text.get("x")) <= width
        assert 0 <= float(text.get("y")) <= height


def test_equal_histories_give_equal_bytes_without_addresses():
    text = draw_curves(HISTORY)
    assert text == draw_curves(HISTORY)
    assert not re.search(r"https?://(?!www\.w3\.org/[12])", text)
    assert not re.search(r"20\d\d-\d\d-\d\d", text)


@pytest.mark.parametrize("history", [[], [{"words": 3}]])
def test_without_anything_to_draw(history):
    with pytest.raises(ValueError, match="Received: history="):
        draw_curves(history)


def test_undefined_scores_leave_gaps_and_no_best_epoch():
    history = [{**e, "CIDEr-D": None} for e in HISTORY]
    svg = draw(history)
    assert "BLEU-4" in texts(svg) and not groups(svg, "best")
    assert has_curves(history)
    assert not has_curves([{"epoch": 1, "BLEU-4": None}])
    assert not has_curves([])
