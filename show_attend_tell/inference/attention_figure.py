"""Draws a photo with the attention of each word of its caption."""

import io
import math
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, PngImagePlugin

from pipelines.boxes.photo_boxes import Box
from pipelines.errors import UserError
from pipelines.files import write_atomically
from pipelines.images.decoding import resized_shape
from pipelines.outputs import SOFTWARE
from show_attend_tell.inference.box_figure import PixelBox, draw_boxes
from show_attend_tell.inference.figure_legend import (
    ACCENT,
    BACKGROUND,
    MUTED,
    TRACK,
    draw_legend,
)
from show_attend_tell.inference.figure_text import (
    legible,
    load_font,
    truncated,
)

_INK = (32, 33, 36)
_BACKDROP = (20, 20, 22)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_GLOW = np.array([1.0, 0.95, 0.8], np.float32)

_GAMMA = 0.8  # lifts what is attended to somewhat
_SIGMA = 0.65  # of the smoothing, in cells of the attention grid
_MOST_COLUMNS = 5  # words in a row
_TITLE_SIZES = (0.12, 0.105, 0.09, 0.075)  # of the panel; the first that fits


def draw_attention(
    image: np.ndarray,
    words: Sequence[str],
    attention: np.ndarray,
    gate: np.ndarray | None = None,
    resize_mode: str = "crop",
    locations: Sequence[int | None] | None = None,
    boxes: Sequence[tuple[str, Box]] = (),
    panel_size: int = 240,
    font: str | None = None,
) -> Image.Image:
    """Draws the photo with boxes, and small for each word with its attention.

    Where a word's attention lies the photo keeps its colours; elsewhere it is
    dark and grey. Brightness is relative to the panel's peak, but attention
    that is spread evenly stays dim everywhere. Returns an RGB picture.

    Args:
        image: The photo, uint8 RGB `(H, W, 3)`.
        words: The caption's T words, the titles of the panels. Characters
            that the font lacks lose their accent or turn into `?`.
        attention: `(T, rows, columns)`, finite and not negative.
        gate: `(T,)` in [0, 1], the context gate, drawn as a bar and a number.
        resize_mode: How the model's input was made of the photo: `"crop"` for
            a central square (the rest stays dark), `"squash"` for all of it.
        locations: For each word the location that hard attention sampled, as
            its index row by row, drawn as a ring; or `None` for no ring.
        boxes: Labels and boxes to draw on the photo, as fractions of the
            model's input.
        panel_size: Longer side of a panel in pixels; the rest follows it.
        font: A TrueType or OpenType file for words that Pillow's font lacks.

    Raises:
        ValueError: An argument has another shape, type or range.
        UserError: `font` cannot be read.

    Example:
        >>> photo = np.full((60, 90, 3), 150, np.uint8)
        >>> attention = np.eye(2).reshape(2, 1, 2)
        >>> draw_attention(photo, ["a", "dog"], attention, [0.2, 0.8]).mode
        'RGB'
    """
    attention = np.asarray(attention, np.float64)
    gate = None if gate is None else np.asarray(gate, np.float64)
    locations = [None] * len(words) if locations is None else locations
    _check(image, words, attention, gate, locations)
    style = _Style(panel_size, font, with_gate=gate is not None)
    large = style.photo(image, 2 * panel_size + style.gaps[0])
    photo = style.photo(image, panel_size)
    region = input_region(image.shape[:2], large.size, resize_mode)
    style.boxes(large, boxes, region)
    region = input_region(image.shape[:2], photo.size, resize_mode)
    cells = []
    for t, word in enumerate(words):
        panel = _overlay(photo, attention[t], region)
        if locations[t] is not None:
            style.ring(panel, locations[t], attention.shape[1:], region)
        cells.append(style.cell(panel, word, None if gate is None else gate[t]))
    notes = _legend(gate, locations, boxes) if cells else []
    return style.page(style.rounded(large), notes, cells)


def _legend(gate, locations, boxes) -> list[tuple[str, str]]:
    """Returns the marks in a picture, and what they mean."""
    notes = [("light", "where the model attended for this word")]
    if gate is not None:
        text = "how much the word relied on the photo: context gate, 0 to 1"
        notes.append(("bar", text))
    if any(location is not None for location in locations):
        notes.append(("ring", "the one location that the word came from"))
    if boxes:
        text = "what these words attend to, with the share of their attention"
        notes.append(("box", text))
    return notes


def input_region(
    shape: tuple[int, int], size: tuple[int, int], resize_mode: str
) -> PixelBox:
    """Returns the part of a photo that the model's input shows.

    The photo has the `shape` (height, width), and is drawn at the `size`
    (width, height), in whose pixels the box is.
    """
    side = 224  # of the input; another side gives the same part
    height, width = resized_shape(shape, side, resize_mode)
    left, top = (width - side) // 2, (height - side) // 2
    left, right = (round(x / width * size[0]) for x in (left, left + side))
    top, bottom = (round(y / height * size[1]) for y in (top, top + side))
    return left, top, max(right, left + 1), max(bottom, top + 1)


def attention_brightness(
    weights: np.ndarray, height: int, width: int
) -> np.ndarray:
    """Returns the brightness `(height, width)` in [0, 1] of each pixel.

    A pixel has the mean of all `weights` `(rows, columns)`, weighted by a
    Gaussian of their distance, relative to the peak, and lifted somewhat. As
    even attention is 1 / L everywhere, only a peak of three times that has full
    brightness.
    """
    down = _gaussian_shares(height, weights.shape[0])
    across = _gaussian_shares(width, weights.shape[1])
    smooth = down @ weights @ across.T
    bright = smooth / max(smooth.max(), 3 * weights.mean(), 1e-12)
    return bright**_GAMMA


def _gaussian_shares(pixels: int, cells: int) -> np.ndarray:
    """Returns each cell's share in each pixel, `(pixels, cells)`."""
    pixel = (np.arange(pixels) + 0.5) * (cells / pixels)
    cell = np.arange(cells) + 0.5
    share = np.exp(-(((pixel[:, None] - cell) / _SIGMA) ** 2) / 2)
    return share / share.sum(axis=1, keepdims=True)


def contact_sheet(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] | None = None,
    font: str | None = None,
) -> Image.Image:
    """Stacks pictures, each below its caption, with thin lines between them.

    Raises:
        ValueError: There is no picture, or not a caption for each.
        UserError: `font` cannot be read.
    """
    if not pictures or (captions and len(captions) != len(pictures)):
        raise ValueError(
            "Expected pictures, and as many captions or none. Received: "
            f"{len(pictures)} pictures, captions={captions}"
        )
    width = max(picture.width for picture in pictures)
    header = width // 22 if captions else 0
    heights = [header + picture.height + 1 for picture in pictures]
    sheet = Image.new("RGB", (width, sum(heights) - 1), BACKGROUND)
    draw, top, margin = ImageDraw.Draw(sheet), 0, header // 3
    for n, picture in enumerate(pictures):
        if captions:
            letters = load_font(header // 2, font)
            line = legible(captions[n], letters)
            line = truncated(line, letters, width - 2 * margin)
            start = margin, top + header * 0.85
            draw.text(start, line, _INK, letters, anchor="ls")
        sheet.paste(picture, (0, top + header))
        top += heights[n]
        draw.line([0, top - 1, width, top - 1], TRACK)
    return sheet


def save_picture(picture: Image.Image, path: str) -> None:
    """Writes a PNG file atomically, with our mark; a missing folder is made.

    Raises:
        UserError: The name does not end in `.png`.
    """
    if not str(path).lower().endswith(".png"):
        raise UserError(
            "Expected a file name that ends in .png. "
            f"Received: path={str(path)!r}"
        )
    file = io.BytesIO()
    mark = PngImagePlugin.PngInfo()
    mark.add_text("Software", SOFTWARE)
    picture.save(file, "PNG", optimize=True, pnginfo=mark)
    write_atomically(path, file.getvalue())


class _Style:
    """Sizes and letters in proportion to the panel."""

    def __init__(self, panel_size: int, font: str | None, with_gate: bool):
        def scaled(part: float) -> int:
            return max(1, round(panel_size * part))

        self.title_fonts = [load_font(scaled(s), font) for s in _TITLE_SIZES]
        self.gate_font = load_font(scaled(0.083), None)
        self.label_font = load_font(scaled(0.085), font)
        self.note_font = load_font(scaled(0.075), None)
        self.title_height = scaled(0.165)
        self.gate_height = scaled(0.11) if with_gate else 0
        self.least_width = scaled(0.6)
        self.gaps = scaled(0.07), scaled(0.09)
        self.margin = scaled(0.1)
        self.stroke = scaled(0.011)
        self.radius = scaled(0.022)

    def cell(
        self, panel: Image.Image, word: str = "", gate: float | None = None
    ) -> Image.Image:
        """Returns a panel with its word and gate above it."""
        width = max(panel.width, self.least_width)
        top = self.title_height + self.gate_height
        cell = Image.new("RGB", (width, top + panel.height), BACKGROUND)
        draw = ImageDraw.Draw(cell)
        for font in self.title_fonts:
            title = legible(word, font)
            if font.getlength(title) <= width:
                break
        title = truncated(title, font, width)
        draw.text((0, self.title_height * 0.72), title, _INK, font, anchor="ls")
        if gate is not None:
            self._gate(draw, gate, width)
        start = (width - panel.width) // 2, top
        cell.paste(self.rounded(panel), start)
        return cell

    def photo(self, image: np.ndarray, size: int) -> Image.Image:
        """Returns the photo with its longer side of this size."""
        scale = size / max(image.shape[:2])
        sides = [max(1, round(side * scale)) for side in image.shape[1::-1]]
        return Image.fromarray(image).resize(sides, Image.Resampling.LANCZOS)

    def rounded(self, panel: Image.Image) -> Image.Image:
        """Returns a panel with rounded corners."""
        edges = 0, 0, panel.width - 0.25, panel.height - 0.25
        rounded = {"radius": 4 * self.radius, "fill": 255}
        mask = _smooth_mask(panel.size, "rounded_rectangle", edges, **rounded)
        corners = Image.new("RGB", panel.size, BACKGROUND)
        corners.paste(panel, mask=mask)
        return corners

    def boxes(
        self,
        photo: Image.Image,
        boxes: Sequence[tuple[str, Box]],
        region: PixelBox,
    ) -> None:
        """Draws labelled boxes, which are fractions of the region."""
        left, top, right, bottom = region
        start, sides = (left, top) * 2, (right - left, bottom - top) * 2
        in_pixels = [
            (
                label,
                tuple(
                    round(first + edge * side)
                    for first, edge, side in zip(start, box, sides, strict=True)
                ),
            )
            for label, box in boxes
        ]
        draw_boxes(photo, in_pixels, self.label_font, max(2, self.stroke))

    def _gate(self, draw: ImageDraw.ImageDraw, gate: float, width: int) -> None:
        """Draws the gate: a bar with its number on the right."""
        middle = self.title_height + self.gate_height * 0.3
        text, font = f"{gate:.2f}", self.gate_font
        draw.text((width, middle), text, MUTED, font, anchor="rm")
        length = width - round(font.getlength("0.00") * 1.2)
        half = max(1, round(self.stroke * 1.25))
        for part, colour in ((1, TRACK), (gate, ACCENT)):
            right = round(length * part)
            if right > 0:
                draw.rectangle((0, middle - half, right, middle + half), colour)

    def ring(self, panel: Image.Image, location: int, shape, region: PixelBox):
        """Draws a ring around a location, seen on light and on dark."""
        left, top, right, bottom = region
        row, column = divmod(location, shape[1])
        across, down = (right - left) / shape[1], (bottom - top) / shape[0]
        x, y = left + (column + 0.5) * across, top + (row + 0.5) * down
        radius = max(0.75 * max(across, down), 3.0 * self.stroke)
        for part, colour in ((3, _BACKDROP), (1.5, ACCENT)):
            width = part * self.stroke
            reach = radius + width / 2
            edges = x - reach, y - reach, x + reach, y + reach
            outline = {"width": round(4 * width), "outline": 255}
            mask = _smooth_mask(panel.size, "ellipse", edges, **outline)
            panel.paste(colour, mask=mask)

    def page(
        self,
        photo: Image.Image,
        notes: Sequence[tuple[str, str]],
        cells: Sequence[Image.Image],
    ) -> Image.Image:
        """Arranges the photo, a legend below it, and the cells of words.

        These are on the right, in rows of nearly equal length.
        """
        width = max(photo.width, 2 * self.least_width)
        legend = draw_legend(notes, width, self.note_font, self.stroke)
        grid = self.grid(cells)
        height = max(photo.height + legend.height, grid.height)
        frame = width + grid.width + 2 * self.margin, height + 2 * self.margin
        picture = Image.new("RGB", frame, BACKGROUND)
        picture.paste(photo, (self.margin, self.margin))
        picture.paste(legend, (self.margin, self.margin + photo.height))
        picture.paste(grid, (self.margin + width, self.margin))
        return picture

    def grid(self, cells: Sequence[Image.Image]) -> Image.Image:
        """Arranges cells of one size in rows, with a gap before each."""
        if not cells:
            return Image.new("RGB", (0, 0))
        # Two rows are as high as the photo with its legend.
        rows = min(math.ceil(len(cells) / 3), 2)
        rows = max(math.ceil(len(cells) / _MOST_COLUMNS), rows)
        columns = math.ceil(len(cells) / rows)
        gap_x, gap_y = self.gaps
        right, down = cells[0].width + gap_x, cells[0].height + gap_y
        size = gap_x + columns * right, rows * down - gap_y
        grid = Image.new("RGB", size, BACKGROUND)
        for index, cell in enumerate(cells):
            row, column = divmod(index, columns)
            grid.paste(cell, (2 * gap_x + column * right, row * down))
        return grid


def _overlay(
    photo: Image.Image, weights: np.ndarray, region: PixelBox
) -> Image.Image:
    """Returns the photo, bright where the weights are and dark elsewhere."""
    left, top, right, bottom = region
    light = np.zeros((photo.height, photo.width, 1), np.float32)
    dark = np.full_like(light, 0.15)
    inside = np.s_[top:bottom, left:right, 0]
    light[inside] = attention_brightness(weights, bottom - top, right - left)
    dark[inside] = 0.36

    colours = np.asarray(photo, np.float32) / 255
    grey = (colours @ _LUMA)[..., None]
    mixed = (1 - light) * dark * grey + light * colours
    # A faint warm glow shows attention on what is dark in the photo itself.
    mixed = 1 - (1 - mixed) * (1 - 0.35 * light**1.5 * _GLOW)
    return Image.fromarray((mixed * 255 + 0.5).clip(0, 255).astype(np.uint8))


def _smooth_mask(size, shape: str, edges, **style) -> Image.Image:
    """Draws a shape of `ImageDraw` at four times the size, and shrinks it."""
    large = Image.new("L", (4 * size[0], 4 * size[1]))
    draw = getattr(ImageDraw.Draw(large), shape)
    draw([4 * edge for edge in edges], **style)
    return large.resize(size, Image.Resampling.BOX)


def _check(image, words, attention, gate, locations) -> None:
    """Checks that the arrays fit each other."""
    shape, dtype = getattr(image, "shape", ()), getattr(image, "dtype", None)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(
            "Expected `image` to be uint8 of shape (H, W, 3). Received: "
            f"image.shape={shape}, image.dtype={dtype}"
        )
    count = len(words)
    if attention.ndim != 3 or len(attention) != count:
        raise ValueError(
            f"Expected `attention` of shape ({count}, rows, columns). "
            f"Received: attention.shape={attention.shape}"
        )
    if not np.all(np.isfinite(attention) & (attention >= 0)):
        raise ValueError(
            "Expected `attention` to be finite and not negative. "
            f"Received: minimum={attention.min()}"
        )
    if gate is not None and (
        gate.shape != (count,) or not np.all((gate >= 0) & (gate <= 1))
    ):
        raise ValueError(
            f"Expected `gate` of shape ({count},) in [0, 1]. "
            f"Received: gate={gate}"
        )
    cells = range(attention[0].size if count else 0)
    if len(locations) != count or not {*locations} <= {None, *cells}:
        raise ValueError(
            f"Expected `locations` to be None or in {cells} for each of "
            f"{count} words. Received: locations={locations}"
        )
