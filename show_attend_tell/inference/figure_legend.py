"""The legend of a figure: its marks, and what they mean."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from show_attend_tell.inference.box_figure import COLOURS
from show_attend_tell.inference.figure_text import wrapped

BACKGROUND = (250, 250, 249)
MUTED = (92, 96, 102)
TRACK = (222, 224, 227)
ACCENT = (232, 119, 34)


def draw_legend(
    notes: Sequence[tuple[str, str]],
    width: int,
    font: ImageFont.FreeTypeFont,
    stroke: int,
) -> Image.Image:
    """Draws a line or two for each kind of mark.

    Args:
        notes: Kinds of marks (light, bar, ring or box), and their meanings.
        width: Of the picture in pixels; its height follows.
        font: Of the letters.
        stroke: Width of the lines in pixels.
    """
    line, indent = round(1.35 * font.size), round(3 * font.size)
    rows = [(kind, wrapped(text, font, width - indent)) for kind, text in notes]
    height = sum(len(lines) * line + line // 2 for _, lines in rows)
    picture = Image.new("RGB", (width, height), BACKGROUND)
    draw, y = ImageDraw.Draw(picture), 0
    for kind, lines in rows:
        y += line // 2
        _draw_mark(draw, kind, (0, y, 0.75 * indent, y + line), stroke)
        for text in lines:
            draw.text((indent, y + line / 2), text, MUTED, font, anchor="lm")
            y += line
    return picture


def _draw_mark(draw: ImageDraw.ImageDraw, kind: str, area, stroke: int) -> None:
    left, top, right, bottom = area
    x, y, half = (left + right) / 2, (top + bottom) / 2, (bottom - top) * 0.35
    if kind == "bar":
        for part, colour in ((1, TRACK), (0.6, ACCENT)):
            edges = left, y - stroke, right * part, y + stroke
            draw.rectangle(edges, colour)
    elif kind == "ring":
        edges = x - half, y - half, x + half, y + half
        draw.ellipse(edges, outline=ACCENT, width=stroke)
    elif kind == "box":
        edges = left, y - half, right, y + half
        draw.rectangle(edges, outline=COLOURS[0], width=stroke)
    elif kind == "light":
        for n in range(round(right)):
            grey = round(40 + 200 * (1 - abs(n - x) / x) ** 1.5)
            edges = left + n, y - half, left + n, y + half
            draw.line(edges, (grey, round(0.97 * grey), round(0.85 * grey)))
