"""Training curves, read back from their SVG."""

import re
import xml.etree.ElementTree as ElementTree

import pytest

from show_attend_tell.evaluation.curves import draw_curves, measures_of, ticks

SVG = "{http://www.w3.org/2000/svg}"
HISTORY = [
    {"epoch": 1, "BLEU-4": 0.2, "loss": 40.0},
    {"epoch": 2, "BLEU-4": 0.5, "loss": 20.0},
    {"epoch": 3, "BLEU-4": 0.5, "loss": 10.0},
    {"epoch": 4, "BLEU-4": 0.4, "loss": 5.0},
]


def drawn(*arguments, **options) -> ElementTree.Element:
    return ElementTree.fromstring(draw_curves(*arguments, **options))


def lines(svg: ElementTree.Element) -> list[list[tuple[float, float]]]:
    """The points of each curve, in pixels."""
    return [
        [tuple(map(float, p.split(","))) for p in line.get("points").split()]
        for line in svg.iter(f"{SVG}polyline")
    ]


def labels(svg: ElementTree.Element) -> list[tuple[str, float, float]]:
    return [
        (text.text, float(text.get("x")), float(text.get("y")))
        for text in svg.iter(f"{SVG}text")
    ]


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]),
        (0.687, 0.864, [0.65, 0.7, 0.75, 0.8, 0.85, 0.9]),
        (0.31, 0.98, [0.2, 0.4, 0.6, 0.8, 1]),
        (5.4, 24.2, [5, 10, 15, 20, 25]),
        (-3, 7, [-5, -2.5, 0, 2.5, 5, 7.5]),
        (120, 910, [0, 200, 400, 600, 800, 1000]),
        (0.5, 0.5, [0.45, 0.475, 0.5, 0.525, 0.55]),
        (0, 0, [-0.5, -0.25, 0, 0.25, 0.5]),
    ],
)
def test_ticks_are_round_numbers(low, high, expected):
    assert ticks(low, high) == expected


@pytest.mark.parametrize("low", [-7.3, 0.0, 1e-7, 0.123, 99.5, 12345.6])
@pytest.mark.parametrize("range_", [1e-6, 0.03, 0.5, 1.0, 7.7, 480.0])
def test_ticks_enclose_what_they_measure(low, range_):
    found = ticks(low, low + range_, 5)
    assert found[0] <= low + 1e-6 * range_
    assert found[-1] >= low + range_ - 1e-6 * range_
    assert 2 <= len(found) <= 6
    steps = [b - a for a, b in zip(found, found[1:], strict=False)]
    assert max(steps) == pytest.approx(min(steps), rel=1e-3)


def test_points_lie_where_the_axes_say():
    svg = drawn(HISTORY, measures=["BLEU-4"])
    (curve,) = lines(svg)
    told = labels(svg)
    # Along the value axis: labels stand a fixed way below their line.
    height = {float(t): y for t, _, y in told if t in {"0.2", "0.3", "0.5"}}
    unit = (height[0.2] - height[0.5]) / 0.3
    assert unit > 100
    ys = [y for _, y in curve]
    assert ys[0] - ys[1] == pytest.approx(0.3 * unit, abs=0.3)
    assert ys[1] == ys[2]
    assert ys[3] - ys[2] == pytest.approx(0.1 * unit, abs=0.3)
    # Along the epochs.
    place = {t: x for t, x, _ in told if t in {"1", "2", "3", "4"}}
    assert [x for x, _ in curve] == pytest.approx(
        [place[epoch] for epoch in "1234"], abs=0.2
    )


def test_the_first_of_the_best_epochs_is_marked_in_every_panel():
    svg = drawn(HISTORY)
    rings = [c for c in svg.iter(f"{SVG}circle") if c.get("class") == "ring"]
    # The loss comes first; its epoch 2 is marked, although 4 is its lowest.
    for ring, curve in zip(rings, lines(svg), strict=True):
        assert (float(ring.get("cx")), float(ring.get("cy"))) == curve[1]
    assert [ring[0].text for ring in rings] == ["epoch 2: 20", "epoch 2: 0.5"]
    assert "0.500 at epoch 2" in {text for text, _, _ in labels(svg)}


def test_another_measure_may_choose_the_best():
    svg = drawn(HISTORY, best_by="loss")
    assert "0.200 at epoch 1" in {text for text, _, _ in labels(svg)}


def test_a_missing_value_is_a_gap():
    history = [{"BLEU-4": value} for value in (0.1, 0.2, None, 0.3, 0.4)]
    history[2]["BLEU-4"] = float("nan")
    history.append({"loss": 3.0})
    svg = drawn(history, measures=["BLEU-4"])
    assert [len(curve) for curve in lines(svg)] == [2, 2]


def test_what_is_known_is_drawn():
    history = [{"BLEU-4": 0.1, "words": 9.0, "pointing_accuracy": 0.5}]
    assert measures_of(history) == ["BLEU-4", "pointing_accuracy"]
    titles = {text for text, _, _ in labels(drawn(history))}
    assert {"BLEU-4", "Pointing accuracy"} <= titles
    assert "words" in {t for t, _, _ in labels(drawn(history, ["words"]))}


def test_chance_is_drawn_at_its_height():
    history = [
        {"pointing_accuracy": accuracy, "pointing_chance": 0.25}
        for accuracy in (0.25, 0.75)
    ]
    svg = drawn(history)
    (chance,) = [
        line for line in svg.iter(f"{SVG}line") if line.get("class") == "chance"
    ]
    ((_, first), _) = lines(svg)[0]
    assert float(chance.get("y1")) == float(chance.get("y2")) == first


def test_one_epoch_is_a_point():
    svg = drawn(HISTORY[:1])
    assert [len(curve) for curve in lines(svg)] == [1, 1]
    assert len(list(svg.iter(f"{SVG}circle"))) == 2


def test_runs_are_told_apart():
    svg = drawn({"soft": HISTORY, "hard <b>&": HISTORY[:2]}, ["BLEU-4"])
    curves = list(svg.iter(f"{SVG}polyline"))
    assert len({curve.get("stroke") for curve in curves}) == 2
    assert len({curve.get("stroke-dasharray") for curve in curves}) == 2
    told = [text for text, _, _ in labels(svg)]
    assert told[:2] == ["soft (best: epoch 2)", "hard <b>& (best: epoch 2)"]
    # The panel lies below the legend.
    assert min(y for curve in lines(svg) for _, y in curve) > 60


def test_everything_lies_inside():
    history = [{name: 0.5 for name in ("loss", "nll", "BLEU-4", "CIDEr")}] * 3
    svg = drawn(history)
    width, height = float(svg.get("width")), float(svg.get("height"))
    assert svg.get("viewBox") == f"0 0 {width:g} {height:g}"
    for _, x, y in labels(svg):
        assert 0 <= x <= width and 0 <= y <= height
    for curve in lines(svg):
        assert all(0 <= x <= width and 0 <= y <= height for x, y in curve)


def test_it_is_told_in_words():
    svg = drawn(HISTORY)
    title, more = svg[:2]
    assert svg.get("role") == "img"
    assert svg.get("aria-labelledby") == f"{title.get('id')} {more.get('id')}"
    assert "BLEU-4" in title.text
    assert (
        "BLEU-4: 0.200 at epoch 1, 0.400 at epoch 4, 0.500 at the best epoch, 2"
    ) in more.text


def test_nothing_from_elsewhere():
    text = draw_curves({"\ud800\0<script>": HISTORY})
    assert not re.search(r"https?://(?!www\.w3\.org/2000/svg\")", text)
    assert "<script" not in text
    text.encode()
    ElementTree.fromstring(text)
    assert text == draw_curves({"\ud800\0<script>": HISTORY})


@pytest.mark.parametrize("history", [[], {}, {"run": []}, [{"words": 3}]])
def test_without_anything_to_draw(history):
    with pytest.raises(ValueError, match="Received: runs="):
        draw_curves(history)
