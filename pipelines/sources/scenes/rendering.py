"""Renders a scene: a few things on a muted background with clutter.

Each thing is rendered in twice its size and halved, so that edges are smooth.
"""

import colorsys
import functools
import io
import math

import numpy as np
from PIL import Image, ImageDraw

from pipelines.sources.scenes.scene import SIDE, Scene, Thing

COLOURS = {
    "red": (216, 38, 38),
    "orange": (246, 134, 26),
    "yellow": (250, 216, 44),
    "green": (44, 156, 62),
    "blue": (38, 92, 214),
    "purple": (128, 50, 172),
    "pink": (250, 132, 188),
    "black": (44, 44, 50),
}
TEXTURES = ("plain", "striped", "spotted")
WIDTHS = {"small": (46, 54), "large": (84, 96)}  # Least and most, in pixels.
_MARK = (255, 253, 246)  # Stripes and spots.


def covered(front: Thing, back: Thing) -> float:
    """Returns the share of a thing's area that another one hides."""
    hides, hidden = _silhouette(front.shape), _silhouette(back.shape)
    cells = len(hidden) - 2
    at = (np.arange(cells) + 0.5) * (back.width / cells)
    scale = cells / front.width
    columns, rows = (
        np.clip((at + there - here) * scale + 1, 0, cells + 1).astype(int)
        for there, here in zip(back.corners[:2], front.corners[:2], strict=True)
    )
    hidden = hidden[1:-1, 1:-1]
    return float(hides[rows[:, None], columns][hidden].mean())


def render_scene(scene: Scene) -> Image.Image:
    """Returns the scene as an RGB picture of `SIDE` by `SIDE` pixels."""
    rng = np.random.default_rng(scene.background)
    picture = _background(rng)
    for thing in scene.things:
        tile, mask = _tile(thing)
        picture.paste(tile, thing.corners[:2], mask)
    return picture


def encode_scene(scene: Scene) -> bytes:
    """Returns the rendered scene as a PNG file."""
    file = io.BytesIO()
    render_scene(scene).save(file, "PNG", compress_level=1)
    return file.getvalue()


# Shapes: faces of unit squares, as (points, light); no light is a hole.


def _arc(start, stop, radius=0.5, centre=(0.0, 0.0), flat=1.0, points=48):
    """Returns points of an arc, in degrees clockwise from the right."""
    angles = np.radians(np.linspace(start, stop, points))
    x = centre[0] + radius * np.cos(angles)
    y = centre[1] + radius * flat * np.sin(angles)
    return np.stack([x, y], axis=1)


def _fill(points):
    """Stretches points to fill the square around the origin."""
    low, high = points.min(axis=0), points.max(axis=0)
    return (points - low) / (high - low) - 0.5


def _star():
    angles = np.radians(np.arange(10) * 36 - 90)
    radius = np.where(np.arange(10) % 2, 0.25, 0.5)
    points = np.stack([np.cos(angles), np.sin(angles)], 1)
    return _fill(points * radius[:, None])


def _heart():
    t = np.linspace(0, 2 * math.pi, 60)
    y = 13 * np.cos(t) - 5 * np.cos(2 * t) - 2 * np.cos(3 * t) - np.cos(4 * t)
    return _fill(np.stack([16 * np.sin(t) ** 3, -y], 1))


def _moon():
    inner = _arc(66.5, 293.5, 0.386, (0.2, 0.0))  # Meets the outer arc.
    return _fill(np.concatenate([_arc(45, 315), inner[::-1]]))


def _cross(arm=0.2):
    corner = np.array([(arm, -0.5), (arm, -arm), (0.5, -arm)])
    quarter = np.array([[0, 1], [-1, 0]])  # Rows turn clockwise.
    turns = (np.linalg.matrix_power(quarter, n) for n in range(4))
    return np.concatenate([corner @ turn for turn in turns])


def _cone():
    base = _arc(0, 180, 0.5, (0.0, 0.36), flat=0.28)
    return np.concatenate([[(0.0, -0.5)], base])


def _cube(low=-0.5, depth=0.24, high=0.5):
    front = [(low, -depth), (depth, -depth), (depth, high), (low, high)]
    top = [(low, -depth), (-depth, low), (high, low), (depth, -depth)]
    side = [(depth, -depth), (high, low), (high, depth), (depth, high)]
    faces = (np.array(face) for face in (front, top, side))
    return tuple(zip(faces, (1.0, 1.2, 0.78), strict=True))


SHAPES = {
    "ball": ((_arc(0, 360), 1.0),),
    "cube": _cube(),
    "cone": ((_cone(), 1.0),),
    "star": ((_star(), 1.0),),
    "heart": ((_heart(), 1.0),),
    "ring": ((_arc(0, 360), 1.0), (_arc(0, 360, 0.24), None)),
    "moon": ((_moon(), 1.0),),
    "cross": ((_cross(), 1.0),),
}


def _shade(colour, light):
    return tuple(min(255, round(channel * light)) for channel in colour)


def _outlines(shape, width):
    """Returns (points, light) of the faces, scaled, one pixel inside."""
    for points, light in SHAPES[shape]:
        scaled = points * (width - 4) + (width - 1) / 2
        yield [tuple(point) for point in scaled.tolist()], light


@functools.cache
def _mask(shape, width):
    """Returns the 8-bit mask of a shape, twice its size."""
    mask = Image.new("L", (2 * width, 2 * width))
    draw = ImageDraw.Draw(mask)
    for points, light in _outlines(shape, 2 * width):
        draw.polygon(points, fill=0 if light is None else 255)
        draw.line([*points, points[0]], fill=255, width=3, joint="curve")
    return mask


@functools.cache
def _silhouette(shape):
    """Returns the mask of a shape, in 24 cells a side and an empty border."""
    return np.pad(np.asarray(_mask(shape, 48).reduce(4)) > 127, 1)


@functools.cache
def _marks(texture, width):
    """Returns where a texture's pale marks are, twice the thing's size."""
    marks = Image.new("L", (2 * width, 2 * width))
    draw = ImageDraw.Draw(marks)
    step = 24 if width < 64 else 36  # Twice the distance of two marks.
    if texture == "striped":
        for x in range(-2 * width, 2 * width, step):
            ends = [(x, 2 * width), (x + 2 * width, 0)]
            draw.line(ends, fill=255, width=round(0.36 * step))
    elif texture == "spotted":
        radius = 0.3 * step
        for row, y in enumerate(range(step // 3, 2 * width, step)):
            for x in range(step // 4 + row % 2 * step // 2, 2 * width, step):
                spot = (x - radius, y - radius, x + radius, y + radius)
                draw.ellipse(spot, fill=255)
    return marks


@functools.cache
def _gloss(width):
    """Returns a soft light from the upper left and a shade below right."""
    full = 2 * width
    start = full * 5 // 8  # The light's middle is at three eighths.
    far = Image.radial_gradient("L").resize((2 * full, 2 * full))
    near = far.crop((start, start, start + full, start + full))
    light = near.point(lambda value: max(0, 150 - 2 * value) * 0.6)
    shade = near.point(lambda value: max(0, value - 110) * 0.55)
    return light, shade


def _tile(thing):
    """Returns a thing's picture and mask, both as large as its square."""
    colour, width = COLOURS[thing.colour], thing.width
    dark = _shade(colour, 0.5)
    tile = Image.new("RGB", (2 * width, 2 * width), dark)
    draw = ImageDraw.Draw(tile)
    outlines = list(_outlines(thing.shape, 2 * width))
    for points, light in outlines:
        draw.polygon(points, fill=_shade(colour, light or 0.5))
    if thing.texture != "plain":
        tile.paste(_MARK, mask=_marks(thing.texture, width))
    light, shade = _gloss(width)
    tile.paste((255, 255, 255), mask=light)
    tile.paste(dark, mask=shade)
    for points, _ in outlines:
        draw.line([*points, points[0]], fill=dark, width=3, joint="curve")
    return tile.reduce(2), _mask(thing.shape, width).reduce(2)


def _tint(hue, saturation, value):
    rgb = colorsys.hsv_to_rgb(hue % 1.0, saturation, value)
    return tuple(round(255 * channel) for channel in rgb)


def _background(rng):
    """Returns two muted tints mixed by a soft mask, with clutter on top."""
    hue, saturation = rng.random(), rng.uniform(0.03, 0.2)
    value = rng.uniform(0.72, 0.96)
    first = _tint(hue, saturation, value)
    second = _tint(hue + rng.uniform(-0.12, 0.12), saturation, value - 0.12)
    picture = Image.new("RGB", (SIDE, SIDE), first)
    kind = ("flat", "gradient", "noise", "pattern")[rng.integers(4)]
    if kind != "flat":
        picture.paste(second, mask=_mixture(kind, rng))
    draw = ImageDraw.Draw(picture)
    for _ in range(rng.integers(3, 10)):
        _draw_clutter(draw, _tint(hue, saturation + 0.05, value - 0.25), rng)
    return picture


def _mixture(kind, rng):
    """Returns an 8-bit mask: the part of the second tint."""
    if kind == "gradient":
        turn = (Image.Transpose.ROTATE_90, Image.Transpose.ROTATE_180)
        mask = Image.linear_gradient("L").resize((SIDE, SIDE))
        return mask.transpose(turn[rng.integers(2)])
    if kind == "noise":
        cells = int(rng.integers(6, 40))
        noise = rng.integers(0, 256, (cells, cells), dtype=np.uint8)
        return Image.fromarray(noise).resize((SIDE, SIDE), Image.BICUBIC)
    mask = Image.new("L", (SIDE, SIDE))
    draw = ImageDraw.Draw(mask)
    step, slant = int(rng.integers(14, 34)), int(rng.integers(-60, 61))
    for x in range(-60, SIDE + 60, step):
        draw.line([(x, 0), (x + slant, SIDE)], fill=150, width=step // 3)
    return mask


def _draw_clutter(draw, tint, rng):
    """Renders a thin line, a speck or a small blob, all muted."""
    kind = rng.integers(3)
    x, y, a, b = rng.uniform(0, SIDE, 4)
    if kind == 0:
        ends = [(x, y), (x + (a - x) / 2, y + (b - y) / 2)]
        draw.line(ends, fill=tint, width=1 + int(rng.integers(2)))
    else:
        low, high = ((1, 2), (3, 8))[kind - 1]
        wide, high = rng.uniform(low, high, 2)
        draw.ellipse((x - wide, y - high, x + wide, y + high), fill=tint)
