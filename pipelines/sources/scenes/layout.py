"""Random scenes whose captions are beyond doubt."""

import itertools

import numpy as np

from pipelines.sources.scenes.rendering import (
    COLOURS,
    SHAPES,
    TEXTURES,
    WIDTHS,
    covered,
)
from pipelines.sources.scenes.scene import (
    SIDE,
    Scene,
    Thing,
    centre_of,
    eccentricity,
    overlap,
    salience_class,
    units_by_salience,
)

SPLITS = ("train", "validation", "test", "novel")
# Every colour and every shape is held out once, and seen in seven pairs.
HELD_OUT = frozenset(
    (colour, tuple(SHAPES)[(3 * row + 1) % len(SHAPES)])
    for row, colour in enumerate(COLOURS)
)
_PAIRS = tuple(itertools.product(COLOURS, SHAPES))
_SEEN = tuple(pair for pair in _PAIRS if pair not in HELD_OUT)
_NOVEL = tuple(sorted(HELD_OUT))
# How many things that look the same are named first (one thing is named
# second), and how many further things there are; repeated by frequency.
_LAYOUTS = (*[(1, 0)] * 4, *[(1, 1)] * 3, (1, 2), *[(2, 0)] * 2, (2, 1), (3, 0))
# Sizes of the first two, by how many are first and whether there are further
# things; those are always small.
_SIZES = {
    (1, False): (("large", "small"), ("large", "large"), ("small", "small")),
    (1, True): (("large", "small"), ("large", "large")),
    (2, False): (("small", "large"), ("small", "small"), ("large", "small")),
    (2, True): (("small", "large"),),
    (3, False): (("small", "large"), ("small", "small")),
}
_EDGE, _GAP = 6, 7  # Least distance to the border and to a thing, in pixels.
_MARGIN = 22  # By how much one is nearer to the middle, in pixels.
# Streams of random numbers of a scene.
_STREAMS = ("layout", "captions")


def scene_rng(
    split: str, index: int, seed: int, stream: str
) -> np.random.Generator:
    """Returns the random generator of a scene's layout or captions."""
    numbers = (seed, SPLITS.index(split), index, _STREAMS.index(stream))
    return np.random.default_rng(numbers)


def make_scene(split: str, index: int, seed: int = 0) -> Scene:
    """Returns scene `index` of a split, the same for the same arguments."""
    rng = scene_rng(split, index, seed, "layout")
    first, further = _choose(rng, _LAYOUTS)
    overlapping = first == 1 and rng.random() < 0.08
    hidden = _choose(rng, (0, 1)) if overlapping else None
    novel, count = split == "novel", 2 + further
    kinds = _sample_kinds(rng, count, novel, first > 1, overlapping)
    while True:
        things = _arrange(rng, kinds, first, further, hidden)
        if things and _is_clear(things, kinds):
            return Scene(things, int(rng.integers(2**32)))


def _choose(rng, options):
    return options[int(rng.random() * len(options))]


def _sample_kinds(rng, count, novel, other_shape, other_colour):
    """Returns (shape, colour, texture) of each unit, no pair twice.

    With `other_shape` (or `other_colour`) no unit shares the first one's.
    """
    # The first two are named in every caption; either may be the novel pair.
    new = int(rng.random() * 2) if novel else None
    pairs = []
    while len(pairs) < count:
        pair = _choose(rng, _NOVEL if len(pairs) == new else _SEEN)
        colour, shape = pairs[0] if pairs else (None, None)
        shared = other_colour and pair[0] == colour
        shared = shared or (other_shape and pair[1] == shape)
        if pair not in pairs and not shared:
            pairs.append(pair)
    textures = (*TEXTURES, "plain")
    return [(shape, colour, _choose(rng, textures)) for colour, shape in pairs]


def _sample_width(rng, size):
    low, high = WIDTHS[size]
    return low + 2 * int(rng.random() * ((high - low) // 2 + 1))


def _arrange(rng, kinds, first, further, hidden):
    """Returns things from back to front, or `None` where they do not fit.

    Where `hidden` is 0 or 1, that one of the first two is partly hidden.
    """
    sizes = _choose(rng, _SIZES[first, bool(further)])
    widths = [_sample_width(rng, size) for size in sizes]
    centres = _relative_centres(rng, first, *widths, hidden)
    widths = [widths[0]] * first + widths[1:]
    shift = [_shift(rng, axis, widths) for axis in zip(*centres, strict=True)]
    if None in shift:
        return None
    units = [0] * first + [1]
    things = [
        Thing(*kinds[u], sizes[u], x + shift[0], y + shift[1], width)
        for u, (x, y), width in zip(units, centres, widths, strict=True)
    ]
    if hidden is not None:
        if hidden == 1:
            things.reverse()
        back, front = things
        if overlap(front, back) > 0.25 * back.width**2:
            return None
        if not 0.06 <= covered(front, back) <= 0.25:
            return None
    for kind in kinds[2:]:
        thing = _further_thing(rng, kind, things)
        if thing is None:
            return None
        things.append(thing)
    return tuple(things)


def _relative_centres(rng, first, a, b, hidden):
    """Returns centres of a row of things of width a, and of one of width b."""
    if hidden is not None:
        most = 0.5 if (a, b)[hidden] > 70 else 0.15
        gap = -int(min(a, b) * (0.12 + most * rng.random()))
    else:
        gap = _GAP + int(rng.random() * 40)
    along = (a + b) // 2 + gap
    across = int((rng.random() - 0.5) * along)
    if rng.random() < 0.5:
        along = -along
    # The row lies across the axis of the relation.
    row = first * a + (first - 1) * _GAP
    start = (a - row) // 2
    centres = [(0, start + n * (a + _GAP)) for n in range(first)]
    centres.append((along, across))
    if rng.random() < 0.5:  # From left and right to above and below.
        centres = [centre[::-1] for centre in centres]
    return centres


def _shift(rng, centres, widths):
    """Returns an offset that keeps everything inside, or `None`."""
    low = min(c - w // 2 for c, w in zip(centres, widths, strict=True))
    high = max(c + w // 2 for c, w in zip(centres, widths, strict=True))
    room = SIDE - 2 * _EDGE - (high - low)
    return None if room < 0 else _EDGE - low + int(rng.random() * (room + 1))


def _further_thing(rng, kind, things):
    """Returns one more small thing that touches no other, or `None`."""
    width = _sample_width(rng, "small")
    room = SIDE - 2 * _EDGE - width + 1
    for _ in range(12):
        x, y = (_EDGE + width // 2 + int(rng.random() * room) for _ in "xy")
        if all(
            max(abs(x - other.x), abs(y - other.y))
            >= (width + other.width) // 2 + _GAP
            for other in things
        ):
            return Thing(*kind, "small", x, y, width)
    return None


def _is_clear(things, kinds):
    """Whether it is beyond doubt which units are named, and their relation."""
    units = units_by_salience(things)
    named = {(unit[0].shape, unit[0].colour) for unit in units[:2]}
    if named != {kind[:2] for kind in kinds[:2]}:
        return False
    for one, other in zip(units[1:], units[2:], strict=False):
        near = eccentricity(other) - eccentricity(one) < _MARGIN
        if near and salience_class(one) == salience_class(other):
            return False
    first, second = units[:2]
    if any(overlap(a, b) for a in first for b in second):
        return True
    (ax, ay), (bx, by) = centre_of(first), centre_of(second)
    along, across = ("x", "y") if abs(ax - bx) > abs(ay - by) else ("y", "x")
    ratio = 1.6 if len(first) == 1 else 1.25
    return all(
        abs(getattr(a, along) - getattr(b, along))
        >= ratio * abs(getattr(a, across) - getattr(b, across))
        for a in first
        for b in second
    )
