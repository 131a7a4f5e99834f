"""The attention figure, pixel by pixel."""

import os

import numpy as np
import pytest
from PIL import Image, ImageFont

from pipelines.errors import UserError
from show_attend_tell.inference.attention_figure import (
    attention_brightness,
    contact_sheet,
    draw_attention,
    input_region,
    save_picture,
)
from show_attend_tell.inference.box_figure import COLOURS

WORDS = 400  # where their panels begin, right of the photo
GREY = np.full((60, 90, 3), 150, np.uint8)  # 3 : 2, so panels are 180 x 120


def peak(row: int, column: int, grid=(14, 14)) -> np.ndarray:
    """Attention of one word that lies in a single cell."""
    attention = np.zeros((1, *grid))
    attention[0, row, column] = 1
    return attention


def even(words: int = 1) -> np.ndarray:
    return np.full((words, 14, 14), 1 / 196)


def draw(*arguments, **options) -> Image.Image:
    """A figure with panels of 180 pixels."""
    return draw_attention(*arguments, **{"panel_size": 180, **options})


def panels(picture: Image.Image) -> list[np.ndarray]:
    """Cuts the photo and the panels of one row out, their corners black."""
    pixels = np.array(picture)
    used = np.any(pixels != pixels[0, 0], axis=-1)
    middle = 110  # Below titles and gates, in every panel.
    edges = np.flatnonzero(np.diff(np.pad(used[middle], 1).astype(int)))
    cut = []
    for left, right in edges.reshape(-1, 2):
        column = used[:, (left + right) // 2]
        top = middle - np.argmin(column[middle::-1]) + 1
        bottom = middle + np.argmin(column[middle:])
        panel = pixels[top:bottom, left:right].copy()
        for y in (slice(4), slice(-4, None)):
            panel[y, :4] = panel[y, -4:] = 0
        cut.append(panel)
    return cut


def panel(attention: np.ndarray, image=GREY, **options) -> np.ndarray:
    """The panel of the only word."""
    picture = draw(image, ["dog"], attention, **options)
    return panels(picture)[1].astype(int)


def brightest(panel: np.ndarray) -> tuple[float, float]:
    """Middle of the brightest pixels of a panel: x, y."""
    light = panel.sum(axis=-1)
    y, x = np.nonzero(light >= light.max() - 3)
    return x.mean() + 0.5, y.mean() + 0.5


def accent(picture) -> np.ndarray:
    """Where the picture is plainly orange."""
    pixels = np.asarray(picture).astype(int)
    return (pixels[..., 0] > 200) & (pixels[..., 2] < 60)


def test_photo_comes_first_and_a_panel_for_each_word():
    words = ["a", "dog", "."]
    row = panels(draw(GREY, words, even(3), resize_mode="squash"))
    # The photo is as wide as two panels and what is between them.
    assert row[0].shape == (249, 373, 3)
    assert [panel.shape for panel in row[1:]] == [(120, 180, 3)] * 3
    assert np.all(row[0][20:-20] == 150)


# The paper's crop: of the shorter side resized to 256 the middle 224, so
# 224 / 256 * 120 = 105 pixels of a panel of 180 x 120, from (37.5, 7.5) on.
REGIONS = {"squash": (0, 0, 180, 120), "crop": (37.5, 7.5, 105, 105)}


@pytest.mark.parametrize("resize_mode", REGIONS)
@pytest.mark.parametrize(
    ("grid", "row", "column"),
    [
        *(((14, 14), *cell) for cell in [(0, 0), (3, 11), (13, 13), (6, 7)]),
        ((6, 9), 1, 8),
    ],
)
def test_a_location_is_bright_where_it_lies(resize_mode, grid, row, column):
    left, top, width, height = REGIONS[resize_mode]
    across, down = width / grid[1], height / grid[0]
    attention = peak(row, column, grid)
    x, y = brightest(panel(attention, resize_mode=resize_mode))
    # At the edge the brightest spot lies a little outside its middle.
    assert abs(x - left - (column + 0.5) * across) < across
    assert abs(y - top - (row + 0.5) * down) < down


def test_outside_of_the_crop_is_dark():
    light = panel(even()).sum(axis=-1)
    inside = light[10:110, 40:140]
    assert inside.min() > 1.5 * light[10:110, 5:35].max()
    assert inside.min() > 1.5 * light[10:110, 145:175].max()


@pytest.mark.parametrize(
    ("shape", "resize_mode", "expected"),
    [
        # 256 x 384 after the resize, of which the middle 224 x 224.
        ((60, 90), "crop", (80, 16, 304, 240)),
        ((90, 60), "crop", (16, 80, 240, 304)),
        ((60, 90), "squash", (0, 0, 384, 256)),
    ],
)
def test_input_region(shape, resize_mode, expected):
    size = (384, 256) if shape[1] > shape[0] else (256, 384)
    assert input_region(shape, size, resize_mode) == expected


def test_brightness_is_a_gaussian_mean_of_the_cells():
    weights = np.random.default_rng(0).random((3, 5)) ** 4
    bright = np.empty((6, 20))
    for y, x in np.ndindex(6, 20):
        rows = (y + 0.5) / 2 - np.arange(3) - 0.5
        columns = (x + 0.5) / 4 - np.arange(5) - 0.5
        squares = rows[:, None] ** 2 + columns**2
        share = np.exp(-squares / 2 / 0.65**2)
        bright[y, x] = (share * weights).sum() / share.sum()
    bright = (bright / max(bright.max(), 3 * weights.mean())) ** 0.8
    np.testing.assert_allclose(attention_brightness(weights, 6, 20), bright)


def test_attention_that_is_spread_stays_dim():
    assert panel(even()).max() < 0.7 * panel(peak(6, 7)).max()


def test_attention_keeps_colours_and_the_rest_is_grey():
    red = np.zeros((90, 90, 3), np.uint8)
    red[..., 0] = 200
    pixels = panel(peak(3, 3), red, resize_mode="squash")
    assert pixels[45, 45, 0] - pixels[45, 45, 1:].max() > 80
    assert np.ptp(pixels[150, 150]) <= 2


@pytest.mark.parametrize(
    ("words", "columns", "rows"),
    [(0, 0, 0), (3, 3, 1), (5, 3, 2), (10, 5, 2), (11, 4, 3), (26, 5, 6)],
)
def test_panels_wrap_into_even_rows(words, columns, rows):
    width, height = draw(GREY, ["a"] * words, even(words)).size
    # Margins of 18, the photo of 373, gaps of 13, a double one before words.
    gap = 13 if words else 0
    assert width == 18 + 373 + gap + columns * (13 + 180) + 18
    # Rows of a title of 30 and a panel, with 16 between them.
    lowest = 18 + rows * (30 + 120 + 16) - 16 + 18
    assert height == lowest if rows > 2 else height >= max(lowest, 249 + 36)


def test_everything_grows_with_the_panel():
    small, large = (
        draw(GREY, ["dog"], even(), [0.5], panel_size=size).size
        for size in (180, 360)
    )
    assert np.allclose(large, 2 * np.array(small), atol=10)


def test_gate_is_a_bar_in_proportion():
    gates = (None, [0.0], [0.25], [0.5], [1.0])
    pictures = [draw(GREY, ["dog"], even(), gate) for gate in gates]
    none, empty, quarter, half, full = (
        np.count_nonzero(accent(picture)[:, WORDS:].any(axis=0))
        for picture in pictures
    )
    assert none == empty == 0
    # And in the legend, where there are gates.
    assert accent(pictures[1]).any() and not accent(pictures[0]).any()
    assert full > 100
    assert (quarter, half) == pytest.approx((full / 4, full / 2), abs=2)


@pytest.mark.parametrize("resize_mode", REGIONS)
def test_the_sampled_location_has_a_ring(resize_mode):
    left, top, width, height = REGIONS[resize_mode]
    picture = draw(
        GREY, ["a", "dog"], even(2), resize_mode=resize_mode,
        locations=[None, 14 * 3 + 11],
    )  # fmt: skip
    _, first, second = panels(picture)
    assert not accent(first).any()
    y, x = np.nonzero(accent(second))
    middle = (x.min() + x.max() + 1) / 2, (y.min() + y.max() + 1) / 2
    expected = left + 11.5 * width / 14, top + 3.5 * height / 14
    assert middle == pytest.approx(expected, abs=1.5)
    assert not accent(second)[int(middle[1]), int(middle[0])]
    assert 8 < np.ptp(x) < 30


@pytest.mark.parametrize("resize_mode", REGIONS)
@pytest.mark.parametrize("shape", [(1, 1), (2, 3000), (3000, 2), (700, 500)])
def test_any_photo_can_be_rendered(shape, resize_mode):
    image = np.full((*shape, 3), 90, np.uint8)
    picture = draw(image, ["a"], peak(0, 0), resize_mode=resize_mode)
    assert max(picture.size) < 700


@pytest.mark.parametrize("resize_mode", REGIONS)
def test_boxes_are_fractions_of_what_the_model_saw(resize_mode):
    box = (0.25, 0.5, 0.75, 0.9)
    boxes = [("a dog", box)]
    photo, _ = panels(
        draw(GREY, ["dog"], even(), resize_mode=resize_mode, boxes=boxes)
    )
    y, x = np.nonzero(np.all(photo == COLOURS[0], axis=-1))
    # The photo is 373 / 180 times as large as a panel.
    left, top, width, height = np.multiply(REGIONS[resize_mode], 373 / 180)
    edges = left + width * 0.25, top + height * 0.9, left + width * 0.75
    assert (x.min(), y.max(), x.max()) == pytest.approx(edges, abs=2)
    # Its label stands on its upper edge.
    assert y.min() == pytest.approx(top + height / 2 - 22, abs=3)


def title(word: str, **options) -> Image.Image:
    return draw(GREY, [word], even(), **options)


def test_title_is_the_word():
    rows = np.nonzero(np.asarray(title("dog")) != np.asarray(title("cat")))[0]
    assert 0 < rows.max() < 50


@pytest.mark.parametrize(
    ("word", "shown_as"),
    [
        ("caf\u00e9", "cafe"),  # Pillow's own font has no accents
        ("cafe\u0301", "cafe"),
        ("\u72ac", "?"),
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
    path.write_bytes(b"no font")
    with pytest.raises(UserError, match=r"Received: font='.*font.ttf'"):
        title("dog", font=str(path))


@pytest.mark.parametrize("word", ["w" * 30, "skateboarding" * 50])
def test_a_long_word_stays_in_its_cell(word):
    pixels = np.asarray(title(word))
    used = np.any(pixels != pixels[0, 0], axis=-1)
    assert used[18:40, WORDS:].any()
    # The margin on the right has the width of a tenth of a panel.
    assert not used[:, -17:].any()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image": GREY[..., 0]}, r"Received: image.shape=\(60, 90\)"),
        ({"image": GREY.astype(float)}, "image.dtype=float64"),
        ({"image": GREY[:0]}, r"image.shape=\(0, 90, 3\)"),
        ({"image": "photo.jpg"}, "image.dtype=None"),
        ({"words": ["a"]}, r"\(1, rows.*attention.shape=\(2, 14, 14\)"),
        ({"attention": np.ones((2, 196))}, r"attention.shape=\(2, 196\)"),
        ({"attention": -even(2)}, "Received: minimum=-0.005"),
        ({"attention": even(2) * np.nan}, "Received: minimum=nan"),
        ({"gate": [0.5]}, r"Received: gate=\[0.5\]"),
        ({"gate": [0.5, 1.5]}, r"in \[0, 1\]. Received: gate="),
        ({"gate": [0.5, np.nan]}, "Received: gate="),
        ({"resize_mode": "stretch"}, "resize_mode='stretch'"),
        ({"locations": [3]}, r"of 2 words. Received: locations=\[3\]"),
        ({"locations": [0, 196]}, r"range\(0, 196\) .*locations=\[0, 196\]"),
        ({"locations": [-1, None]}, r"Received: locations=\[-1, None\]"),
    ],
)
def test_what_cannot_be_rendered_is_named(change, message):
    arguments = {"image": GREY, "words": ["a", "dog"], "attention": even(2)}
    with pytest.raises(ValueError, match=message):
        draw(**{**arguments, **change})


def test_contact_sheet_stacks_pictures():
    red = Image.new("RGB", (30, 20), (255, 0, 0))
    blue = Image.new("RGB", (50, 10), (0, 0, 255))
    sheet = contact_sheet([red, blue])
    assert sheet.size == (50, 20 + 1 + 10)
    assert sheet.getpixel((29, 19)) == (255, 0, 0)
    assert sheet.getpixel((49, 30)) == (0, 0, 255)
    assert sheet.getpixel((40, 5)) not in {(255, 0, 0), (0, 0, 255)}


def test_contact_sheet_has_captions_above_pictures():
    pictures = [Image.new("RGB", (600, 20), (255, 0, 0))] * 2
    sheet = contact_sheet(pictures, ["a dog", "word " * 99])
    pixels = np.asarray(sheet)
    red = np.all(pixels == (255, 0, 0), axis=-1)
    assert np.count_nonzero(red.all(axis=1)) == 40
    tops = np.flatnonzero(np.diff(red[:, 0].astype(int)) == 1) + 1
    assert len(tops) == 2
    for top, widest in zip(tops, (150, 600), strict=True):
        letters = pixels[top - 22 : top] < 100
        columns = np.flatnonzero(letters.any(axis=(0, 2)))
        assert 0 < columns.min() < 20
        assert widest * 0.2 < columns.max() < widest - 5


def test_contact_sheet_needs_pictures_and_a_caption_each():
    with pytest.raises(ValueError, match="Received: 0 pictures"):
        contact_sheet([])
    with pytest.raises(ValueError, match="1 pictures, captions="):
        contact_sheet([title("dog")], ["a", "b"])


def test_saved_picture_is_read_back(tmp_path):
    picture = title("dog")
    path = tmp_path / "new" / "dog.png"
    save_picture(picture, str(path))
    with Image.open(path) as saved:
        assert saved.format == "PNG"
        assert saved.tobytes() == picture.tobytes()
    assert os.listdir(path.parent) == ["dog.png"]
    with pytest.raises(UserError, match="Received: path='.*dog.jpg'"):
        save_picture(picture, str(tmp_path / "dog.jpg"))
