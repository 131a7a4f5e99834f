"""Draws a photo with the attention of each word of its caption."""

import functools
import io
import math
import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont, PngImagePlugin

from pipelines.errors import UserError
from pipelines.files import write_atomically
from pipelines.images.decoding import resized_shape
from pipelines.outputs import SOFTWARE

Box = tuple[int, int, int, int]  # left, top, right, bottom in pixels

_BACKGROUND = (250, 250, 249)
_INK = (32, 33, 36)
_MUTED = (92, 96, 102)
_TRACK = (222, 224, 227)
_ACCENT = (232, 119, 34)
_BACKDROP = (20, 20, 22)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_GLOW = np.array([1.0, 0.95, 0.8], np.float32)

_SIGMA = 0.65  # of the smoothing, in cells of the attention grid
_MOST_COLUMNS = 6  # panels in a row
_TITLE_SIZES = (0.12, 0.105, 0.09, 0.075)  # of the panel; the first that fits
_NO_GLYPH = "\U0010fffe"  # a noncharacter: every font draws its "missing" sign


def draw_attention(
    image: np.ndarray,
    words: Sequence[str],
    attention: np.ndarray,
    gate: np.ndarray | None = None,
    resize_mode: str = "crop",
    locations: Sequence[int | None] | None = None,
    panel_size: int = 180,
    font: str | None = None,
) -> Image.Image:
    """Draws the photo, and once more for each word with its attention.

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
    scale = panel_size / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    photo = Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)
    region = input_region(image.shape[:2], photo.size, resize_mode)
    style = _Style(panel_size, font, with_gate=gate is not None)
    cells = [style.cell(photo)]
    for t, word in enumerate(words):
        panel = _overlay(photo, attention[t], region)
        if locations[t] is not None:
            style.ring(panel, locations[t], attention.shape[1:], region)
        cells.append(style.cell(panel, word, None if gate is None else gate[t]))
    return style.grid(cells)


def input_region(
    shape: tuple[int, int], size: tuple[int, int], resize_mode: str
) -> Box:
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
    Gaussian of their distance, relative to the peak. As even attention is
    1 / L everywhere, only a peak of four times that has full brightness.
    """
    down = _gaussian_shares(height, weights.shape[0])
    across = _gaussian_shares(width, weights.shape[1])
    smooth = down @ weights @ across.T
    return smooth / max(smooth.max(), 4 * weights.mean(), 1e-12)


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
    sheet = Image.new("RGB", (width, sum(heights) - 1), _BACKGROUND)
    draw, top, margin = ImageDraw.Draw(sheet), 0, header // 3
    for n, picture in enumerate(pictures):
        if captions:
            letters = _font(header // 2, font)
            line = _legible(captions[n], letters)
            line = _truncated(line, letters, width - 2 * margin)
            start = margin, top + header * 0.85
            draw.text(start, line, _INK, letters, anchor="ls")
        sheet.paste(picture, (0, top + header))
        top += heights[n]
        draw.line([0, top - 1, width, top - 1], _TRACK)
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

        self.title_fonts = [_font(scaled(s), font) for s in _TITLE_SIZES]
        self.gate_font = _font(scaled(0.083), None)
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
        cell = Image.new("RGB", (width, top + panel.height), _BACKGROUND)
        draw = ImageDraw.Draw(cell)
        for font in self.title_fonts:
            title = _legible(word, font)
            if font.getlength(title) <= width:
                break
        title = _truncated(title, font, width)
        draw.text((0, self.title_height * 0.72), title, _INK, font, anchor="ls")
        if gate is not None:
            self._gate(draw, gate, width)
        edges = 0, 0, panel.width - 0.25, panel.height - 0.25
        rounded = {"radius": 4 * self.radius, "fill": 255}
        mask = _smooth_mask(panel.size, "rounded_rectangle", edges, **rounded)
        cell.paste(panel, ((width - panel.width) // 2, top), mask)
        return cell

    def _gate(self, draw: ImageDraw.ImageDraw, gate: float, width: int) -> None:
        """Draws the gate: a bar with its number on the right."""
        middle = self.title_height + self.gate_height * 0.3
        text, font = f"{gate:.2f}", self.gate_font
        draw.text((width, middle), text, _MUTED, font, anchor="rm")
        length = width - round(font.getlength("0.00") * 1.2)
        half = max(1, round(self.stroke * 1.25))
        for part, colour in ((1, _TRACK), (gate, _ACCENT)):
            right = round(length * part)
            if right > 0:
                draw.rectangle((0, middle - half, right, middle + half), colour)

    def ring(self, panel: Image.Image, location: int, shape, region: Box):
        """Draws a ring around a location, seen on light and on dark."""
        left, top, right, bottom = region
        row, column = divmod(location, shape[1])
        across, down = (right - left) / shape[1], (bottom - top) / shape[0]
        x, y = left + (column + 0.5) * across, top + (row + 0.5) * down
        radius = max(0.75 * max(across, down), 3.0 * self.stroke)
        for part, colour in ((3, _BACKDROP), (1.5, _ACCENT)):
            width = part * self.stroke
            reach = radius + width / 2
            edges = x - reach, y - reach, x + reach, y + reach
            outline = {"width": round(4 * width), "outline": 255}
            mask = _smooth_mask(panel.size, "ellipse", edges, **outline)
            panel.paste(colour, mask=mask)

    def grid(self, cells: Sequence[Image.Image]) -> Image.Image:
        """Arranges cells of one size in rows of nearly equal length."""
        rows = math.ceil(len(cells) / _MOST_COLUMNS)
        columns = math.ceil(len(cells) / rows)
        gap_x, gap_y = self.gaps
        right, down = cells[0].width + gap_x, cells[0].height + gap_y
        size = columns * right - gap_x, rows * down - gap_y
        frame = [side + 2 * self.margin for side in size]
        picture = Image.new("RGB", frame, _BACKGROUND)
        for index, cell in enumerate(cells):
            row, column = divmod(index, columns)
            start = self.margin + column * right, self.margin + row * down
            picture.paste(cell, start)
        return picture


def _overlay(
    photo: Image.Image, weights: np.ndarray, region: Box
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


def _font(size: int, path: str | None) -> ImageFont.FreeTypeFont:
    """Returns Pillow's own font, or that of a file."""
    if path is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(path, size)
    except OSError as error:
        raise UserError(
            "Expected `font` to be a TrueType or OpenType file. "
            f"Received: font={str(path)!r} ({error})"
        ) from error


def _truncated(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Returns the text, or as much of its beginning as fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _legible(text: str, font: ImageFont.FreeTypeFont) -> str:
    """Replaces what the font lacks: by the letter without accent, or `?`."""

    @functools.cache
    def glyph(character: str) -> tuple:
        mask = font.getmask(character)
        return mask.size, bytes(mask)

    legible = []
    for character in " ".join(unicodedata.normalize("NFC", text).split()):
        if character != " " and glyph(character) == glyph(_NO_GLYPH):
            base = unicodedata.normalize("NFKD", character)[0]
            invisible = unicodedata.category(character)[0] in "MC"
            replacement = "?" if glyph(base) == glyph(_NO_GLYPH) else base
            character = "" if invisible else replacement
        legible.append(character)
    return "".join(legible)


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
