"""Pictures of where the model looked while it wrote each word."""

import io
import math
import unicodedata
from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from pipelines.errors import UserError
from pipelines.files import write_atomically
from pipelines.images.decoding import RESIZE_MODES, resized_shape

Box = tuple[float, float, float, float]

_BACKGROUND = (250, 250, 249)
_INK = (32, 33, 36)
_MUTED = (92, 96, 102)
_TRACK = (222, 224, 227)
_ACCENT = (232, 119, 34)
_BACKDROP = (20, 20, 22)
_LUMA = np.array([0.299, 0.587, 0.114], np.float32)
_GLOW = np.array([1.0, 0.95, 0.8], np.float32)

_SIGMA = 0.65  # of the smoothing, in cells of the attention grid
_NO_GLYPH = "\U0010fffe"  # a noncharacter: every font draws its "missing" sign


def draw_attention(
    image: np.ndarray,
    words: Sequence[str],
    attention: np.ndarray,
    grid: tuple[int, int] | None = None,
    gate: np.ndarray | None = None,
    resize_mode: str = "crop",
    boxes: Sequence[Sequence[Box]] | None = None,
    locations: Sequence[int | None] | None = None,
    panel_size: int = 180,
    columns: int = 6,
    font: str | None = None,
) -> Image.Image:
    """Draws the photo, and once more for each word with its attention.

    Where a word's attention lies the photo keeps its colours; elsewhere it is
    dark and grey. Brightness is relative to the panel's own peak, so a panel
    tells where the model looked and not how sure it was; but attention that
    is spread evenly stays dim all over. T is the number of words, L the
    number of locations.

    Args:
        image: The photo, `(H, W, 3)`, uint8 RGB.
        words: The caption's T words, the title of each panel. Characters
            that the font lacks lose their accent or turn into `?`.
        attention: `(T, rows, columns)` or `(T, L)`, the weight of each
            location at each word; finite and not negative.
        grid: Rows and columns of the locations; their product is L. `None`
            takes them from an attention of three axes, or a square of L.
        gate: `(T,)` in [0, 1], how much the model relied on the image at each
            word: a bar and a number below the word. `None` leaves it out.
        resize_mode: How the network saw the photo: `"crop"` for a central
            square (what lies outside stays dark), `"squash"` for all of it.
        boxes: For each word a list of boxes to outline: left, top, right and
            bottom as fractions of the photo.
        locations: For each word the location that hard attention sampled, as
            its number in [0, L) by rows: a ring around it. `None` in place
            of a number, or of all, leaves the ring out.
        panel_size: Longer side of a panel in pixels; everything else,
            letters as well, grows with it. Twice the size at which the
            picture is shown makes it sharp on dense screens.
        columns: Panels in a row, at most.
        font: A TrueType or OpenType file for words that Pillow's own font
            lacks, such as those of a language beyond English.

    Returns:
        An RGB picture.

    Raises:
        ValueError: An argument has another shape, type or range.
        UserError: `font` cannot be read.
    """
    _check_image(image)
    _check_words(words)
    attention = _checked_attention(attention, words, grid)
    gate = _checked_gate(gate, words)
    if resize_mode not in RESIZE_MODES:
        raise ValueError(
            f"`resize_mode` must be one of {RESIZE_MODES}. "
            f"Received: resize_mode={resize_mode!r}"
        )
    if boxes is not None and len(boxes) != len(words):
        raise ValueError(
            "`boxes` must hold a list for each word. Received: "
            f"len(boxes)={len(boxes)}, len(words)={len(words)}"
        )
    locations = _checked_locations(locations, attention)
    if not 48 <= panel_size <= 2048:
        raise ValueError(
            "`panel_size` must lie in [48, 2048]. "
            f"Received: panel_size={panel_size}"
        )
    if columns < 1:
        raise ValueError(
            f"`columns` must be positive. Received: columns={columns}"
        )
    style = _Style(panel_size, font, with_gate=gate is not None)
    photo = _shrunk(image, panel_size)
    cells = [style.cell(photo)]
    region = _region(image.shape[:2], photo.size, resize_mode)
    for t, word in enumerate(words):
        panel = _overlay(photo, attention[t], region)
        if boxes is not None:
            style.outline(panel, boxes[t])
        if locations[t] is not None:
            style.ring(panel, locations[t], attention.shape[1:], region)
        cells.append(style.cell(panel, word, None if gate is None else gate[t]))
    return style.in_rows(cells, columns)


def seen_box(shape: tuple[int, int], resize_mode: str) -> Box:
    """Returns the part of a photo that the network saw.

    Args:
        shape: Height and width of the photo.
        resize_mode: `"crop"` or `"squash"`.

    Returns:
        Left, top, right and bottom as fractions of the photo.

    Raises:
        ValueError: There is no such resize_mode.
    """
    side = 224  # of the network's input; another gives the same fractions
    height, width = resized_shape(shape, side, resize_mode)
    left, top = (width - side) // 2, (height - side) // 2
    return (
        left / width,
        top / height,
        (left + side) / width,
        (top + side) / height,
    )


def contact_sheet(
    pictures: Sequence[Image.Image],
    captions: Sequence[str] | None = None,
    font: str | None = None,
) -> Image.Image:
    """Puts pictures below each other, a thin line between them.

    Args:
        pictures: At least one picture; they may differ in size.
        captions: A line to write above each picture.
        font: As for `draw_attention`.

    Returns:
        One RGB picture as wide as the widest of them.

    Raises:
        ValueError: There is no picture, or not a caption for each.
        UserError: `font` cannot be read.
    """
    if not pictures:
        raise ValueError(
            "A contact sheet needs a picture. Received: pictures=[]"
        )
    width = max(picture.width for picture in pictures)
    if captions is not None:
        if len(captions) != len(pictures):
            raise ValueError(
                "`captions` must hold one for each picture. Received: "
                f"len(captions)={len(captions)}, "
                f"len(pictures)={len(pictures)}"
            )
        pictures = [
            _headed(picture, caption, width, font)
            for picture, caption in zip(pictures, captions, strict=True)
        ]
    height = sum(picture.height for picture in pictures) + len(pictures) - 1
    sheet = Image.new("RGB", (width, height), _BACKGROUND)
    top = 0
    for picture in pictures:
        if top:
            ImageDraw.Draw(sheet).line([0, top, width, top], _TRACK)
            top += 1
        sheet.paste(picture, (0, top))
        top += picture.height
    return sheet


def save_picture(picture: Image.Image, path: str) -> None:
    """Writes a PNG file; under its name it is whole or not there at all.

    Args:
        picture: What to write.
        path: A file name that ends in `.png`. A missing folder is made.

    Raises:
        UserError: The name ends otherwise.
        OSError: The file cannot be written.
    """
    if not str(path).lower().endswith(".png"):
        raise UserError(
            "pictures are PNG files; give a name that ends in .png. "
            f"Received: path={str(path)!r}"
        )
    file = io.BytesIO()
    picture.save(file, "PNG", optimize=True)
    write_atomically(path, file.getvalue())


class _Style:
    """Sizes and letters, all in proportion to the panel; lays out cells."""

    def __init__(self, panel_size: int, font: str | None, with_gate: bool):
        def scaled(part: float) -> int:
            return max(1, round(panel_size * part))

        self.title_fonts = [
            _font(scaled(part), font) for part in (0.12, 0.105, 0.09, 0.075)
        ]
        self.gate_font = _font(scaled(0.083), None)
        self.title_height = scaled(0.165)
        self.gate_height = scaled(0.11) if with_gate else 0
        self.least_width = scaled(0.6)
        self.gap = scaled(0.07)
        self.row_gap = scaled(0.09)
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
        font, title = self._title(word, width)
        draw.text((0, self.title_height * 0.72), title, _INK, font, anchor="ls")
        if gate is not None:
            self._meter(draw, gate, width)
        cell.paste(
            panel, ((width - panel.width) // 2, top), self._rounded(panel.size)
        )
        return cell

    def outline(self, panel: Image.Image, boxes: Sequence[Box]) -> None:
        """Outlines boxes, given as fractions of the panel."""
        draw = ImageDraw.Draw(panel)
        for box in boxes:
            left, top, right, bottom = _checked_box(box)
            edges = (
                round(left * (panel.width - 1)),
                round(top * (panel.height - 1)),
                round(right * (panel.width - 1)),
                round(bottom * (panel.height - 1)),
            )
            draw.rectangle(edges, outline=_ACCENT, width=self.stroke)

    def ring(
        self,
        panel: Image.Image,
        place: int,
        grid: tuple[int, int],
        region: tuple[int, int, int, int],
    ) -> None:
        """Draws a ring around a location, seen on light and on dark."""
        left, top, right, bottom = region
        row, column = divmod(place, grid[1])
        across, down = (right - left) / grid[1], (bottom - top) / grid[0]
        x = left + (column + 0.5) * across
        y = top + (row + 0.5) * down
        radius = max(0.75 * max(across, down), 3.0 * self.stroke)
        for part, colour in ((3, _BACKDROP), (1.5, _ACCENT)):
            width = part * self.stroke
            reach = radius + width / 2
            edges = x - reach, y - reach, x + reach, y + reach
            # Drawn larger and shrunk, so that it is smooth.
            mask = Image.new("L", (panel.width * 4, panel.height * 4), 0)
            ImageDraw.Draw(mask).ellipse(
                [4 * edge for edge in edges],
                outline=255,
                width=round(4 * width),
            )
            mask = mask.resize(panel.size, Image.Resampling.BOX)
            panel.paste(colour, mask=mask)

    def in_rows(self, cells: Sequence[Image.Image], most: int) -> Image.Image:
        """Lays cells of one size out in rows of nearly equal length."""
        rows = math.ceil(len(cells) / most)
        columns = math.ceil(len(cells) / rows)
        right = cells[0].width + self.gap
        down = cells[0].height + self.row_gap
        size = (
            columns * right - self.gap + 2 * self.margin,
            rows * down - self.row_gap + 2 * self.margin,
        )
        picture = Image.new("RGB", size, _BACKGROUND)
        for index, cell in enumerate(cells):
            row, column = divmod(index, columns)
            picture.paste(
                cell, (self.margin + column * right, self.margin + row * down)
            )
        return picture

    def _title(
        self, word: str, width: int
    ) -> tuple[ImageFont.FreeTypeFont, str]:
        """Returns the largest font that the word fits in, and what to write."""
        for font in self.title_fonts:
            title = _legible(word, font)
            if font.getlength(title) <= width:
                return font, title
        return font, _cut(title, font, width)

    def _meter(
        self, draw: ImageDraw.ImageDraw, gate: float, width: int
    ) -> None:
        """Draws the gate: a bar with its number on the right."""
        middle = self.title_height + self.gate_height * 0.3
        draw.text(
            (width, middle), f"{gate:.2f}", _MUTED, self.gate_font, anchor="rm"
        )
        end = width - round(self.gate_font.getlength("0.00") * 1.2)
        half = max(1, round(self.stroke * 1.25))
        for until, colour in ((1.0, _TRACK), (gate, _ACCENT)):
            edges = (0, middle - half, round(end * until), middle + half)
            if edges[2] > 0:
                draw.rectangle(edges, fill=colour)

    def _rounded(self, size: tuple[int, int]) -> Image.Image:
        """Returns a mask with round corners."""
        # Drawn larger and shrunk, so that the corners are smooth.
        large = Image.new("L", (size[0] * 4, size[1] * 4), 0)
        ImageDraw.Draw(large).rounded_rectangle(
            (0, 0, large.width - 1, large.height - 1), self.radius * 4, 255
        )
        return large.resize(size, Image.Resampling.BOX)


def _headed(
    picture: Image.Image, caption: str, width: int, font: str | None
) -> Image.Image:
    """Returns the picture with a line above it, at most `width` long."""
    height = width // 22
    letters, margin = _font(height // 2, font), height // 3
    line = _cut(_legible(caption, letters), letters, width - 2 * margin)
    headed = Image.new("RGB", (width, height + picture.height), _BACKGROUND)
    ImageDraw.Draw(headed).text(
        (margin, height * 0.85), line, _INK, letters, anchor="ls"
    )
    headed.paste(picture, (0, height))
    return headed


def _cut(text: str, font: ImageFont.FreeTypeFont, width: int) -> str:
    """Returns the text, or as much of its beginning as fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def _shrunk(image: np.ndarray, panel_size: int) -> Image.Image:
    """Returns the photo with its longer side as long as a panel's."""
    scale = panel_size / max(image.shape[:2])
    size = [max(1, round(side * scale)) for side in image.shape[1::-1]]
    return Image.fromarray(image).resize(size, Image.Resampling.LANCZOS)


def _region(
    shape: tuple[int, int], size: tuple[int, int], resize_mode: str
) -> tuple[int, int, int, int]:
    """Returns what the network saw: left, top, right, bottom in the panel."""
    seen = seen_box(shape, resize_mode)
    left, top, right, bottom = (
        round(edge * pixels)
        for edge, pixels in zip(seen, size * 2, strict=True)
    )
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _overlay(
    photo: Image.Image,
    weights: np.ndarray,
    region: tuple[int, int, int, int],
) -> Image.Image:
    """Returns the photo, bright where the weights are and dark elsewhere."""
    left, top, right, bottom = region
    smooth = _smoothed(weights, bottom - top, right - left)
    # An even spread is 1 / L everywhere; only a peak of four times that is
    # shown at full brightness.
    smooth /= max(smooth.max(), 4 * weights.sum() / weights.size, 1e-12)
    light = np.zeros((photo.height, photo.width, 1), np.float32)
    light[top:bottom, left:right, 0] = smooth
    dark = np.full_like(light, 0.15)
    dark[top:bottom, left:right] = 0.36

    colours = np.asarray(photo, np.float32) / 255
    grey = (colours @ _LUMA)[..., None]
    lit = (1 - light) * dark * grey + light * colours
    # A faint warm glow shows attention on what is dark in the photo itself.
    lit = 1 - (1 - lit) * (1 - 0.35 * light**1.5 * _GLOW)
    return Image.fromarray((lit * 255 + 0.5).clip(0, 255).astype(np.uint8))


def _smoothed(weights: np.ndarray, height: int, width: int) -> np.ndarray:
    """Returns the grid's weights at each pixel, `(height, width)`.

    A pixel takes the mean of all cells, weighted by a Gaussian of their
    distance: smooth, never negative, and of any size.
    """
    rows = _mixture(height, weights.shape[0])
    columns = _mixture(width, weights.shape[1])
    return rows @ weights @ columns.T


def _mixture(pixels: int, cells: int) -> np.ndarray:
    """Returns each cell's share in each pixel, `(pixels, cells)`."""
    pixel = (np.arange(pixels) + 0.5) * (cells / pixels)
    cell = np.arange(cells) + 0.5
    share = np.exp(-(((pixel[:, None] - cell) / _SIGMA) ** 2) / 2)
    return share / share.sum(axis=1, keepdims=True)


def _font(size: int, path: str | None) -> ImageFont.FreeTypeFont:
    """Returns Pillow's own font, or that of a file."""
    if path is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(path, size)
    except OSError as error:
        raise UserError(
            "cannot read the font; give a TrueType or OpenType file. "
            f"Received: font={str(path)!r} ({error})"
        ) from error


def _legible(word: str, font: ImageFont.FreeTypeFont) -> str:
    """Returns the word with what the font lacks put otherwise."""
    missing = _drawn(_NO_GLYPH, font)

    def lacks(character: str) -> bool:
        return _drawn(character, font) == missing

    legible = []
    for character in " ".join(unicodedata.normalize("NFC", word).split()):
        if character != " " and lacks(character):
            plain = unicodedata.normalize("NFKD", character)[0]
            hidden = unicodedata.category(character)[0] in "MC"
            character = "" if hidden else "?" if lacks(plain) else plain
        legible.append(character)
    return "".join(legible)


def _drawn(character: str, font: ImageFont.FreeTypeFont) -> tuple:
    """Returns what a character looks like in a font."""
    mask = font.getmask(character)
    return mask.size, bytes(mask)


def _check_image(image: np.ndarray) -> None:
    """Refuses what is no uint8 RGB image."""
    shape = getattr(image, "shape", None)
    dtype = getattr(image, "dtype", None)
    if dtype != np.uint8 or len(shape) != 3 or shape[2] != 3 or 0 in shape:
        raise ValueError(
            "`image` must be a uint8 array of shape (H, W, 3). Received: "
            f"image.shape={shape}, image.dtype={dtype}"
        )


def _check_words(words: Sequence[str]) -> None:
    """Refuses a caption that is not in words."""
    if isinstance(words, str) or not all(isinstance(w, str) for w in words):
        raise ValueError(
            "`words` must be a sequence of strings, one for each word. "
            f"Received: words={words!r}"
        )


def _checked_attention(
    attention: np.ndarray, words: Sequence[str], grid: tuple[int, int] | None
) -> np.ndarray:
    """Returns the attention as float64, `(T, rows, columns)`."""
    attention = np.asarray(attention, np.float64)
    rows, columns = _grid_of(attention) if grid is None else grid
    expected = (len(words), rows * columns), (len(words), rows, columns)
    if attention.shape not in expected:
        raise ValueError(
            f"`attention` must have the shape {expected[0]} or {expected[1]} "
            f"for {len(words)} words and the grid {(rows, columns)}. "
            f"Received: attention.shape={attention.shape}"
        )
    if not np.all(np.isfinite(attention)) or np.any(attention < 0):
        raise ValueError(
            "`attention` must be finite and not negative. Received: "
            f"minimum={attention.min()}, maximum={attention.max()}"
        )
    return attention.reshape(expected[1])


def _grid_of(attention: np.ndarray) -> tuple[int, int]:
    """Returns rows and columns as the attention's own shape tells them."""
    if attention.ndim == 3:
        return attention.shape[1:]
    side = math.isqrt(attention.shape[-1]) if attention.ndim == 2 else 0
    if attention.ndim != 2 or side**2 != attention.shape[-1]:
        raise ValueError(
            "`attention` must have the shape (T, rows, columns), or (T, L) "
            "with `grid` where L is no square. "
            f"Received: attention.shape={attention.shape}, grid=None"
        )
    return side, side


def _checked_locations(
    locations: Sequence[int | None] | None, attention: np.ndarray
) -> Sequence[int | None]:
    """Returns a location or `None` for each word."""
    words, rows, columns = attention.shape
    if locations is None:
        return [None] * words
    known = all(
        place is None or 0 <= place < rows * columns for place in locations
    )
    if len(locations) != words or not known:
        raise ValueError(
            f"`locations` must hold a location in [0, {rows * columns}) or None "
            f"for each of the {words} words. Received: locations={locations}"
        )
    return locations


def _checked_gate(
    gate: np.ndarray | None, words: Sequence[str]
) -> np.ndarray | None:
    """Returns the gate as float64, `(T,)`, or `None`."""
    if gate is None:
        return None
    gate = np.asarray(gate, np.float64)
    if gate.shape != (len(words),):
        raise ValueError(
            f"`gate` must have the shape {(len(words),)}, a number for each "
            f"word. Received: gate.shape={gate.shape}"
        )
    if not np.all((gate >= 0) & (gate <= 1)):
        raise ValueError(f"`gate` must lie in [0, 1]. Received: gate={gate}")
    return gate


def _checked_box(box: Box) -> np.ndarray:
    """Returns the box, cut to the photo."""
    edges = np.asarray(box, np.float64)
    if (
        edges.shape != (4,)
        or not np.all(np.isfinite(edges))
        or np.any(edges[:2] > edges[2:])
    ):
        raise ValueError(
            "A box must be left, top, right and bottom as fractions of the "
            f"photo. Received: box={box!r}"
        )
    return edges.clip(0, 1)
