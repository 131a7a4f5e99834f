"""Attention pictures, looked at pixel by pixel."""

import os

import numpy as np
import pytest
from PIL import Image, ImageFont

from pipelines.errors import UserError
from show_attend_tell.inference.attention_figure import (
    contact_sheet,
    draw_attention,
    save_picture,
    seen_box,
)

GREY = np.full((60, 90, 3), 150, np.uint8)  # 3 : 2, so panels are 180 x 120
CELLS = 14


def peak(row: int, column: int, grid=(CELLS, CELLS)) -> np.ndarray:
    """Attention of one word that lies in a single cell."""
    attention = np.zeros(grid)
    attention[row, column] = 1
    return attention.reshape(1, -1)


def even(words: int = 1) -> np.ndarray:
    return np.full((words, CELLS**2), 1 / CELLS**2)


def panels(picture: Image.Image) -> list[np.ndarray]:
    """Cuts the panels out of a picture of one row, by its background.

    Their rounded corners are made black.
    """
    pixels = np.array(picture)
    drawn = np.any(pixels != pixels[0, 0], axis=-1)
    last = np.flatnonzero(drawn.any(axis=1))[-1]
    # A row near the bottom, but above the rounded corners.
    line = np.concatenate([[False], drawn[last - 8], [False]])
    edges = np.flatnonzero(line[1:] != line[:-1])
    found = []
    for left, right in edges.reshape(-1, 2):
        column = drawn[: last + 1, (left + right) // 2]
        top = last + 1 - np.argmin(column[::-1])
        panel = pixels[top : last + 1, left:right].copy()
        for y in (slice(4), slice(-4, None)):
            panel[y, :4] = panel[y, -4:] = 0
        found.append(panel)
    return found


def brightest(panel: np.ndarray) -> tuple[float, float]:
    """Middle of the brightest pixels of a panel: x, y."""
    light = panel.astype(int).sum(axis=-1)
    y, x = np.nonzero(light >= light.max() - 3)
    return x.mean() + 0.5, y.mean() + 0.5


def test_photo_comes_first_and_a_panel_for_each_word():
    found = panels(
        draw_attention(GREY, ["a", "dog", "."], even(3), resize_mode="squash")
    )
    assert [panel.shape for panel in found] == [(120, 180, 3)] * 4
    assert np.all(found[0][20:-20] == 150)


@pytest.mark.parametrize(
    ("row", "column"), [(0, 0), (3, 11), (13, 13), (7, 0), (6, 7)]
)
def test_squash_lights_the_cell_in_the_whole_photo(row, column):
    picture = draw_attention(
        GREY, ["dog"], peak(row, column), resize_mode="squash"
    )
    x, y = brightest(panels(picture)[1])
    # Cells are 180 / 14 wide and 120 / 14 high. At the edge the brightest
    # spot of a smoothed cell lies a little outside its middle.
    assert abs(x - (column + 0.5) * 180 / 14) < 180 / 14
    assert abs(y - (row + 0.5) * 120 / 14) < 120 / 14


@pytest.mark.parametrize(("row", "column"), [(0, 0), (3, 11), (13, 13), (6, 7)])
def test_crop_lights_the_cell_in_the_central_square(row, column):
    picture = draw_attention(
        GREY, ["dog"], peak(row, column), resize_mode="crop"
    )
    x, y = brightest(panels(picture)[1])
    # The paper's crop: of the shorter side resized to 256 the middle 224, so
    # 224 / 256 * 120 = 105 pixels of a panel of 180 x 120.
    cell = 105 / 14
    assert abs(x - (37.5 + (column + 0.5) * cell)) < cell
    assert abs(y - (7.5 + (row + 0.5) * cell)) < cell


def test_outside_of_the_crop_is_dark():
    panel = panels(draw_attention(GREY, ["dog"], even(), resize_mode="crop"))[1]
    light = panel.astype(int).sum(axis=-1)
    inside = light[10:110, 40:140]
    assert inside.min() > 1.5 * light[10:110, 5:35].max()
    assert inside.min() > 1.5 * light[10:110, 145:175].max()


def test_a_grid_need_not_be_square():
    picture = draw_attention(
        GREY, ["dog"], peak(1, 8, (6, 9)), grid=(6, 9), resize_mode="squash"
    )
    x, y = brightest(panels(picture)[1])
    assert abs(x - 8.5 * 20) < 10
    assert abs(y - 1.5 * 20) < 10


@pytest.mark.parametrize("grid", [(14, 14), (6, 9)])
def test_attention_may_bring_its_grid(grid):
    attention = np.random.default_rng(0).random((1, *grid))
    by_itself = draw_attention(GREY, ["dog"], attention)
    flat = draw_attention(GREY, ["dog"], attention.reshape(1, -1), grid=grid)
    assert by_itself == flat


def test_a_square_of_locations_needs_no_grid():
    attention = np.random.default_rng(0).random((1, 49))
    assert draw_attention(GREY, ["dog"], attention) == draw_attention(
        GREY, ["dog"], attention, grid=(7, 7)
    )


@pytest.mark.parametrize(
    ("shape", "resize_mode", "expected"),
    [
        # 256 x 384 after the resize, of which the middle 224 x 224.
        ((60, 90), "crop", (80 / 384, 1 / 16, 304 / 384, 15 / 16)),
        ((90, 60), "crop", (1 / 16, 80 / 384, 15 / 16, 304 / 384)),
        ((60, 90), "squash", (0, 0, 1, 1)),
    ],
)
def test_what_the_network_saw(shape, resize_mode, expected):
    assert seen_box(shape, resize_mode) == pytest.approx(expected)


def test_attention_that_is_spread_stays_dim():
    spread, narrow = (
        panels(draw_attention(GREY, ["dog"], attention, resize_mode="squash"))[
            1
        ]
        for attention in (even(), peak(6, 7))
    )
    assert spread.max() < 0.7 * narrow.max()


def test_attention_keeps_colours_and_takes_them_elsewhere():
    red = np.zeros((90, 90, 3), np.uint8)
    red[..., 0] = 200
    panel = panels(
        draw_attention(red, ["dog"], peak(3, 3), resize_mode="squash")
    )[1].astype(int)
    lit = panel[180 // 4, 180 // 4]
    unlit = panel[150, 150]
    assert lit[0] - lit[1:].max() > 80
    assert np.ptp(unlit) <= 2


@pytest.mark.parametrize(
    ("words", "columns", "rows"),
    [(0, 1, 1), (3, 4, 1), (5, 6, 1), (6, 4, 2), (11, 6, 2), (12, 5, 3)],
)
def test_panels_wrap_after_six_into_even_rows(words, columns, rows):
    width, height = draw_attention(GREY, ["a"] * words, even(words)).size
    assert columns * 180 < width < columns * 180 + (columns + 1) * 20
    # Each row: a panel of 120 and its title.
    assert rows * 120 < height < rows * 165 + 40


def test_rows_may_be_longer():
    width, height = draw_attention(GREY, ["a"] * 12, even(12), columns=7).size
    assert 7 * 180 < width < 7 * 200 + 40
    assert 2 * 120 < height < 2 * 165 + 40


def test_everything_grows_with_the_panel():
    small, large = (
        draw_attention(GREY, ["dog"], even(), gate=[0.5], panel_size=size).size
        for size in (180, 360)
    )
    assert np.allclose(large, 2 * np.array(small), atol=4)


def accent(picture: Image.Image) -> np.ndarray:
    """Where the picture is plainly orange."""
    pixels = np.asarray(picture).astype(int)
    return (pixels[..., 0] > 200) & (pixels[..., 2] < 60)


def test_gate_is_a_bar_in_proportion():
    lengths = [
        np.count_nonzero(
            accent(draw_attention(GREY, ["dog"], even(), gate=[gate])).any(0)
        )
        for gate in (0.0, 0.25, 0.5, 1.0)
    ]
    assert lengths[0] == 0
    assert lengths[3] > 100
    assert lengths[1] == pytest.approx(lengths[3] / 4, abs=2)
    assert lengths[2] == pytest.approx(lengths[3] / 2, abs=2)


def test_without_a_gate_there_is_no_room_for_it():
    without = draw_attention(GREY, ["dog"], even())
    with_gate = draw_attention(GREY, ["dog"], even(), gate=np.ones(1))
    assert without.height < with_gate.height
    assert not accent(without).any()


def test_boxes_are_outlined_on_their_words_panel():
    boxes = [[], [(0.25, 0.5, 0.75, 1.0)]]
    picture = draw_attention(
        GREY, ["a", "dog"], even(2), resize_mode="squash", boxes=boxes
    )
    _, first, second = panels(picture)
    assert not accent(first).any()
    y, x = np.nonzero(accent(second))
    assert (x.min(), x.max()) == pytest.approx((45, 135), abs=1)
    assert (y.min(), y.max()) == pytest.approx((60, 119), abs=1)
    assert not accent(second)[70:110, 60:120].any()


@pytest.mark.parametrize(
    ("resize_mode", "row", "column", "expected"),
    [
        # Cells of 180 / 14 x 120 / 14 in a panel of 180 x 120.
        ("squash", 3, 11, (11.5 * 180 / 14, 3.5 * 120 / 14)),
        # Cells of 7.5 pixels; the square begins at (37.5, 7.5).
        ("crop", 10, 2, (37.5 + 2.5 * 7.5, 7.5 + 10.5 * 7.5)),
    ],
)
def test_the_sampled_place_has_a_ring(resize_mode, row, column, expected):
    picture = draw_attention(
        GREY,
        ["a", "dog"],
        even(2),
        resize_mode=resize_mode,
        locations=[None, CELLS * row + column],
    )
    _, first, second = panels(picture)
    assert not accent(first).any()
    y, x = np.nonzero(accent(second))
    middle = (x.min() + x.max() + 1) / 2, (y.min() + y.max() + 1) / 2
    assert middle == pytest.approx(expected, abs=1.5)
    # A ring, seen without covering what is inside.
    inside = second[int(middle[1]), int(middle[0])].astype(int)
    assert not accent(inside[None, None].astype(np.uint8))
    assert 8 < np.ptp(x) < 30


@pytest.mark.parametrize(
    "shape",
    [(1, 1), (2, 3000), (3000, 2), (1, 180), (700, 500), (3000, 2000)],
)
@pytest.mark.parametrize("resize_mode", ["crop", "squash"])
def test_any_photo_can_be_drawn(shape, resize_mode):
    image = np.full((*shape, 3), 90, np.uint8)
    picture = draw_attention(image, ["a"], peak(0, 0), resize_mode=resize_mode)
    assert max(picture.size) < 500
    found = panels(picture) if min(shape) > 100 else []
    assert all(max(panel.shape) == 180 for panel in found)


def title(word: str, **options) -> Image.Image:
    return draw_attention(GREY, [word], even(), **options)


def test_title_is_the_word():
    assert title("dog") != title("cat")
    # Only the title differs.
    different = np.argwhere(
        np.any(np.asarray(title("dog")) != np.asarray(title("cat")), axis=-1)
    )
    assert different[:, 0].max() < 50


@pytest.mark.parametrize(
    ("word", "shown_as"),
    [
        ("caf\u00e9", "cafe"),  # Pillow's own font has no accents
        ("cafe\u0301", "cafe"),
        ("\u72ac", "?"),
        ("\U0001f415", "?"),
        ("do\u200bg", "dog"),
        ("two\nlines", "two lines"),
        ("nul\0", "nul"),
        ("\ud800", ""),
    ],
)
def test_words_beyond_the_font_are_replaced(word, shown_as):
    assert title(word) == title(shown_as)


def test_another_font_can_be_given(tmp_path):
    path = tmp_path / "font.ttf"
    path.write_bytes(ImageFont.load_default(20).font_bytes)
    # At this size Pillow spaces letters alike, whoever loads the font.
    given = title("dog", font=str(path), panel_size=150)
    assert given == title("dog", panel_size=150)


def test_a_font_that_is_none_is_refused(tmp_path):
    path = tmp_path / "font.ttf"
    path.write_bytes(b"no font")
    with pytest.raises(UserError, match=r"Received: font='.*font.ttf'"):
        title("dog", font=str(path))


@pytest.mark.parametrize("word", ["w" * 30, "skateboarding" * 50])
def test_a_long_word_stays_in_its_cell(word):
    pixels = np.asarray(title(word))
    drawn = np.any(pixels != pixels[0, 0], axis=-1)
    assert drawn[18:40].any()
    # The margin on the right has the width of a tenth of a panel.
    assert not drawn[:, -17:].any()


def test_same_input_same_picture():
    rng = np.random.default_rng(0)
    image = rng.integers(0, 256, (50, 70, 3), np.uint8)
    attention = rng.random((2, CELLS**2)).astype(np.float32)
    before = image.copy(), attention.copy()
    pictures = [
        draw_attention(image, ["a", "b"], attention, gate=[0.1, 0.9])
        for _ in range(2)
    ]
    assert pictures[0].tobytes() == pictures[1].tobytes()
    np.testing.assert_array_equal(image, before[0])
    np.testing.assert_array_equal(attention, before[1])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": GREY[..., 0]}, r"Received: image.shape=\(60, 90\)"),
        ({"image": GREY.astype(float)}, "image.dtype=float64"),
        ({"image": GREY[:0]}, r"image.shape=\(0, 90, 3\)"),
        ({"image": "photo.jpg"}, "image.shape=None"),
        ({"words": "a dog"}, "Received: words='a dog'"),
        ({"words": ["a"]}, r"Received: attention.shape=\(2, 196\)"),
        ({"grid": (7, 7)}, r"\(2, 49\).*Received: attention.shape=\(2, 196\)"),
        ({"attention": -even(2)}, "Received: minimum=-0.005"),
        ({"attention": even(2) * np.nan}, "Received: minimum=nan"),
        ({"gate": [0.5]}, r"Received: gate.shape=\(1,\)"),
        ({"gate": [0.5, 1.5]}, "Received: gate="),
        ({"gate": [0.5, np.nan]}, "Received: gate="),
        ({"resize_mode": "stretch"}, "Received: resize_mode='stretch'"),
        ({"boxes": [[]]}, r"Received: len\(boxes\)=1"),
        ({"boxes": [[], [(0, 0, 1)]]}, r"Received: box=\(0, 0, 1\)"),
        ({"boxes": [[], [(0.5, 0, 0.1, 1)]]}, "Received: box="),
        ({"panel_size": 0}, "Received: panel_size=0"),
        ({"columns": 0}, "Received: columns=0"),
        ({"attention": np.ones((2, 54))}, r"shape=\(2, 54\), grid=None"),
        ({"attention": np.ones(196)}, r"shape=\(196,\), grid=None"),
        ({"attention": np.ones((1, 14, 14))}, r"shape=\(1, 14, 14\)"),
        (
            {"locations": [3]},
            r"for each of the 2 words. Received: locations=\[3\]",
        ),
        ({"locations": [0, 196]}, r"\[0, 196\) or None.*locations=\[0, 196\]"),
        ({"locations": [-1, None]}, r"Received: locations=\[-1, None\]"),
    ],
)
def test_what_cannot_be_drawn_is_named(change, message):
    arguments = {"image": GREY, "words": ["a", "dog"], "attention": even(2)}
    with pytest.raises(ValueError, match=message):
        draw_attention(**{**arguments, **change})


def test_contact_sheet_stacks_pictures():
    red = Image.new("RGB", (30, 20), (255, 0, 0))
    blue = Image.new("RGB", (50, 10), (0, 0, 255))
    sheet = contact_sheet([red, blue])
    assert sheet.size == (50, 20 + 1 + 10)
    assert sheet.getpixel((29, 19)) == (255, 0, 0)
    assert sheet.getpixel((49, 30)) == (0, 0, 255)
    assert sheet.getpixel((40, 5)) not in {(255, 0, 0), (0, 0, 255)}
    with pytest.raises(ValueError, match="Received: pictures="):
        contact_sheet([])


def test_contact_sheet_heads_pictures_with_captions():
    pictures = [Image.new("RGB", (600, 20), (255, 0, 0))] * 2
    plain = contact_sheet(pictures)
    headed = contact_sheet(pictures, ["a dog", "word " * 99])
    assert headed.width == plain.width
    pixels = np.asarray(headed)
    red = np.all(pixels == (255, 0, 0), axis=-1)
    assert np.count_nonzero(red.all(axis=1)) == 40
    # Each picture lies below a line of letters, which keeps off the edges.
    tops = np.flatnonzero(np.diff(red[:, 0].astype(int)) == 1) + 1
    assert len(tops) == 2
    for top, widest in zip(tops, (150, 600), strict=True):
        line = pixels[top - 22 : top] < 100
        letters = np.flatnonzero(line.any(axis=(0, 2)))
        assert 0 < letters.min() < 20
        assert widest * 0.2 < letters.max() < widest - 5
    with pytest.raises(ValueError, match=r"Received: len\(captions\)=1"):
        contact_sheet(pictures, ["a dog"])


def test_saved_picture_is_read_back(tmp_path):
    picture = title("dog")
    path = tmp_path / "new" / "dog.png"
    save_picture(picture, str(path))
    with Image.open(path) as saved:
        assert saved.format == "PNG"
        assert saved.tobytes() == picture.tobytes()
    assert os.listdir(path.parent) == ["dog.png"]


def test_a_failed_write_leaves_nothing(tmp_path):
    path = tmp_path / "dog.png"
    path.mkdir()
    with pytest.raises(OSError):
        save_picture(title("dog"), str(path))
    assert os.listdir(tmp_path) == ["dog.png"]


def test_pictures_are_png(tmp_path):
    with pytest.raises(UserError, match="Received: path='.*dog.jpg'"):
        save_picture(title("dog"), str(tmp_path / "dog.jpg"))
