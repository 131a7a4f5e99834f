"""Draws labelled boxes on a picture."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from show_attend_tell.inference.figure_text import legible, truncated

PixelBox = tuple[int, int, int, int]  # left, top, right, bottom

# Legible under white letters, and far from each other.
COLOURS = (
    *((196, 84, 10), (28, 106, 199), (22, 122, 72), (178, 44, 124)),
    *((104, 74, 196), (0, 116, 132)),
)
_WHITE = (255, 255, 255)
_DARK = (20, 20, 22)


def draw_boxes(
    picture: Image.Image,
    boxes: Sequence[tuple[str, PixelBox]],
    font: ImageFont.FreeTypeFont,
    stroke: int,
) -> None:
    """Draws boxes into a picture, each with its label.

    A box that shares an edge with another is drawn inside of it, and a label
    stands where it hides no other one, as far as there is room.

    Args:
        picture: RGB; it is changed.
        boxes: Labels and boxes in its pixels.
        font: Of the labels.
        stroke: Width of the lines in pixels.
    """
    draw = ImageDraw.Draw(picture)
    outlines, labels = [], []
    for _, box in boxes:
        inside = _inside(box, picture.size, stroke)
        outlines.append(_apart(inside, outlines, 2 * stroke))
    for n, outline in enumerate(outlines):
        around = _grown(outline, max(1, stroke // 2))
        draw.rectangle(around, outline=_DARK, width=2 * stroke)
        draw.rectangle(outline, outline=_colour(n), width=stroke)
    for n, ((text, _), outline) in enumerate(zip(boxes, outlines, strict=True)):
        margin = font.size // 3
        line = truncated(legible(text, font), font, picture.width - 2 * margin)
        size = round(font.getlength(line)) + 2 * margin, round(1.45 * font.size)
        label = _free_spot(outline, size, picture.size, labels)
        labels.append(label)
        draw.rectangle(label, fill=_colour(n))
        middle = (label[1] + label[3]) / 2
        draw.text((label[0] + margin, middle), line, _WHITE, font, anchor="lm")


def _colour(n: int) -> tuple[int, int, int]:
    return COLOURS[n % len(COLOURS)]


def _grown(box: PixelBox, by: int) -> PixelBox:
    left, top, right, bottom = box
    return left - by, top - by, right + by, bottom + by


def _inside(box: PixelBox, size: tuple[int, int], margin: int) -> PixelBox:
    """Moves edges to where a line is seen completely."""
    lasts = (size[0] - 1, size[1] - 1) * 2
    edges = zip(box, lasts, strict=True)
    return tuple(max(margin, min(edge, end - margin)) for edge, end in edges)


def _apart(
    box: PixelBox, others: Sequence[PixelBox], distance: int
) -> PixelBox:
    """Moves edges inwards that would cover those of others."""
    edges = list(box)
    for n, inwards in enumerate((1, 1, -1, -1)):
        while any(abs(edges[n] - other[n]) < distance for other in others):
            edges[n] += inwards * distance
    left, top, right, bottom = edges
    return left, top, max(right, left + 1), max(bottom, top + 1)


def _free_spot(
    box: PixelBox,
    size: tuple[int, int],
    picture: tuple[int, int],
    taken: Sequence[PixelBox],
) -> PixelBox:
    """Returns where a label goes: above its box, inside it, or near."""
    (width, height), (left, top, _, bottom) = size, box
    x = max(0, min(left, picture[0] - width))
    lowest = max(0, picture[1] - height)
    ways = [top - height, top, bottom - height, bottom]
    ways += sorted(range(0, lowest + 1, height), key=lambda y: abs(y - top))
    spots = [(x, y, x + width, y + height) for y in ways if 0 <= y <= lowest]
    free = (p for p in spots if not any(_overlap(p, other) for other in taken))
    return next(free, spots[-1])


def _overlap(a: PixelBox, b: PixelBox) -> bool:
    return a[0] < b[2] and b[0] < a[2] and a[1] < b[3] and b[1] < a[3]
