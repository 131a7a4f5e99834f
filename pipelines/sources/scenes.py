"""The embedded data set: drawn scenes with five captions each.

Two to four things lie on a muted background. What the captions tell follows
from the scene, as people tell what catches the eye: two things equal to each
other are told together and first, then large things, then those near the
middle. The first two are always told; how they are told differs from caption
to caption. Some pairs of colour and shape are kept for the split `"novel"`.
"""

import functools
import re
from collections.abc import Callable

import numpy as np

from pipelines.captions import CaptionedImage, Source
from pipelines.errors import UserError
from pipelines.sources.scenes_drawing import (
    COLOURS,
    SHAPES,
    SIDE,
    TEXTURES,
    WIDTHS,
    Scene,
    Thing,
    covered,
    encode_scene,
    overlap,
)

SPLITS = ("train", "validation", "test", "novel")
CAPTIONS = 5
# Every colour and every shape is held out once, and seen in seven pairs.
HELD_OUT = frozenset(
    (colour, tuple(SHAPES)[(3 * row + 1) % len(SHAPES)])
    for row, colour in enumerate(COLOURS)
)
_SEEN = tuple(
    (colour, shape)
    for colour in COLOURS
    for shape in SHAPES
    if (colour, shape) not in HELD_OUT
)
_NOVEL = tuple(sorted(HELD_OUT))
_OPPOSITES = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "front": "behind",
    "behind": "front",
}
# How many alike things are told first (one more is told second), and how many
# are beside these; repeated as often as scenes are laid out so, in twelfths.
_LAYOUTS = (
    *[(1, 0)] * 4,
    *[(1, 1)] * 3,
    (1, 2),
    *[(2, 0)] * 2,
    (2, 1),
    (3, 0),
)
# Sizes of these two, by how many are first and whether others are beside
# them; those are always small.
_SIZES = {
    (1, False): (("large", "small"), ("large", "large"), ("small", "small")),
    (1, True): (("large", "small"), ("large", "large")),
    (2, False): (("small", "large"), ("small", "small"), ("large", "small")),
    (2, True): (("small", "large"),),
    (3, False): (("small", "large"), ("small", "small")),
}
_EDGE, _GAP = 6, 7  # Least distance to the border and to a thing, in pixels.
_MARGIN = 22  # By how much one is nearer to the middle, in pixels.

# Words: the favourite, another one, and how often the other one is taken.
_WORDS = {
    "left": ("left of", "to the left of", 0.3),
    "right": ("right of", "to the right of", 0.3),
    "above": ("above", "over", 0.3),
    "below": ("below", "under", 0.3),
    "front": ("in front of", "partly covering", 0.3),
    "behind": ("behind", "partly hidden by", 0.3),
    "large": ("large", "big", 0.3),
    "small": ("small", "little", 0.3),
    "spotted": ("spotted", "dotted", 0.25),
    "striped": ("striped", "striped", 0.0),
    "ball": ("ball", "sphere", 0.25),
    "cube": ("cube", "block", 0.25),
    "cone": ("cone", "cone", 0.0),
    "star": ("star", "star", 0.0),
    "heart": ("heart", "heart", 0.0),
    "ring": ("ring", "ring", 0.0),
    "moon": ("moon", "crescent", 0.25),
    "cross": ("cross", "cross", 0.0),
}
_PLURALS = {"cross": "crosses"}
_MARKS = {"striped": "stripes", "spotted": "spots"}
_NUMBERS = {2: "two", 3: "three", 4: "four"}

Unit = tuple[Thing, ...]  # Things that look the same and are told together.


def load_scenes(
    train: int = 6000,
    validation: int = 500,
    test: int = 1000,
    novel: int = 500,
    seed: int = 0,
) -> Source:
    """Returns drawn scenes; an image is drawn when it is read.

    Args:
        train: Number of scenes in the split `"train"`.
        validation: Number of scenes in the split `"validation"`.
        test: Number of scenes in the split `"test"`.
        novel: Number of scenes in the split `"novel"`; each of them tells of
            a pair of colour and shape that no other split has.
        seed: Chooses the scenes. A scene does not depend on the numbers.

    Returns:
        The source `"scenes"`; ids are like `"scenes-0-test-000123"`.

    Raises:
        UserError: A number or the seed is negative, or too large for the id.
    """
    counts = dict(zip(SPLITS, (train, validation, test, novel), strict=True))
    for name, count in {**counts, "seed": seed}.items():
        if not 0 <= count <= 1_000_000:
            raise UserError(
                "Numbers of scenes and their seed must be from 0 to 1000000. "
                f"Received: {name}={count}"
            )
    return Source(
        "scenes",
        tuple(
            _captioned_image(split, index, seed)
            for split, count in counts.items()
            for index in range(count)
        ),
    )


def _captioned_image(split, index, seed):
    name = f"scenes-{seed}-{split}-{index:06d}"
    captions = write_captions(
        make_scene(split, index, seed), _generator(split, index, seed, 1)
    )
    draw: Callable[[], bytes] = functools.partial(draw_scene, name)
    return CaptionedImage(name, split, captions, draw=draw)


def draw_scene(name: str) -> bytes:
    """Returns the PNG file of the scene with this id."""
    return encode_scene(scene_of(name))


def scene_of(name: str) -> Scene:
    """Returns the scene with this id.

    Args:
        name: An id that `load_scenes` gives, such as `"scenes-0-test-000123"`.

    Raises:
        UserError: No scene has this id.
    """
    match = re.fullmatch(r"scenes-(\d{1,7})-([a-z]+)-(\d{6,7})", name)
    if match is None or match[2] not in SPLITS:
        raise UserError(
            "Expected the id of a scene, such as 'scenes-0-test-000123'. "
            f"Received: name={name!r}"
        )
    return make_scene(match[2], int(match[3]), int(match[1]))


def make_scene(split: str, index: int, seed: int = 0) -> Scene:
    """Returns one scene, always the same for the same arguments.

    Args:
        split: `"train"`, `"validation"`, `"test"` or `"novel"`.
        index: Which scene of the split, from 0.
        seed: Seed of the whole data set.
    """
    rng = _generator(split, index, seed, 0)
    first, beside = _choose(rng, _LAYOUTS)
    overlapping = first == 1 and rng.random() < 0.08
    hidden = _choose(rng, (0, 1)) if overlapping else None
    apart = {"shape": first > 1, "colour": overlapping}
    looks = _looks(rng, 2 + beside, split == "novel", apart)
    while True:
        things = _place(rng, looks, first, beside, hidden)
        if things and _is_clear(things, looks):
            return Scene(things, int(rng.integers(2**32)))


def _generator(split, index, seed, part):
    return np.random.default_rng((seed, SPLITS.index(split), index, part))


def _choose(rng, options):
    return options[int(rng.random() * len(options))]


def _looks(rng, count, novel, apart):
    """Returns (shape, colour, texture) of each unit, no pair twice.

    Where `apart` says so, the first one's shape or colour is its alone.
    """
    # The first two are always told; either may be the new pair.
    new = int(rng.random() * 2) if novel else None
    pairs = []
    while len(pairs) < count:
        pair = _choose(rng, _NOVEL if len(pairs) == new else _SEEN)
        colour, shape = pairs[0] if pairs else (None, None)
        like = (apart["colour"] and pair[0] == colour) or (
            apart["shape"] and pair[1] == shape
        )
        if pair not in pairs and not like:
            pairs.append(pair)
    return [
        (shape, colour, _choose(rng, (*TEXTURES, "plain")))
        for colour, shape in pairs
    ]


def _width(rng, size):
    low, high = WIDTHS[size]
    return low + 2 * int(rng.random() * ((high - low) // 2 + 1))


def _place(rng, looks, first, beside, hidden):
    """Returns things from back to front, or nothing where they do not fit.

    Where `hidden` is 0 or 1, that one of the first two is partly hidden.
    """
    sizes = _choose(rng, _SIZES[first, bool(beside)])
    a, b = (_width(rng, size) for size in sizes)
    # The row of alike things lies across the axis of the relation.
    row = first * a + (first - 1) * _GAP
    if hidden is not None:
        most = 0.5 if (a, b)[hidden] > 70 else 0.15
        gap = -int(min(a, b) * (0.12 + most * rng.random()))
    else:
        gap = _GAP + int(rng.random() * 40)
    along = (a + b) // 2 + gap
    across = int((rng.random() - 0.5) * along)
    if rng.random() < 0.5:
        along = -along
    start = (a - row) // 2
    places = [(0, start + n * (a + _GAP)) for n in range(first)]
    places.append((along, across))
    widths = [a] * first + [b]
    if rng.random() < 0.5:  # From left and right to above and below.
        places = [place[::-1] for place in places]
    shift = [_shift(rng, [p[i] for p in places], widths) for i in range(2)]
    if None in shift:
        return None
    units = [0] * first + [1]
    things = [
        Thing(*looks[u], sizes[u], x + shift[0], y + shift[1], width)
        for u, (x, y), width in zip(units, places, widths, strict=True)
    ]
    if hidden is not None:
        if hidden == 1:
            things.reverse()
        back, front = things
        if overlap(front, back) > 0.25 * back.width**2:
            return None
        if not 0.06 <= covered(front, back) <= 0.25:
            return None
    for look in looks[2:]:
        thing = _beside(rng, look, things)
        if thing is None:
            return None
        things.append(thing)
    return tuple(things)


def _shift(rng, centres, widths):
    """Returns an offset that keeps everything inside, or nothing."""
    low = min(c - w // 2 for c, w in zip(centres, widths, strict=True))
    high = max(c + w // 2 for c, w in zip(centres, widths, strict=True))
    room = SIDE - 2 * _EDGE - (high - low)
    return None if room < 0 else _EDGE - low + int(rng.random() * (room + 1))


def _beside(rng, look, things):
    """Returns one more small thing that touches none, or nothing."""
    width = _width(rng, "small")
    room = SIDE - 2 * _EDGE - width + 1
    for _ in range(12):
        x, y = (_EDGE + width // 2 + int(rng.random() * room) for _ in "xy")
        if all(
            max(abs(x - other.x), abs(y - other.y))
            >= (width + other.width) // 2 + _GAP
            for other in things
        ):
            return Thing(*look, "small", x, y, width)
    return None


# What is told: everything below sees only the things.


def _look(thing):
    return thing.shape, thing.colour, thing.texture, thing.size


def _centre(unit):
    return (
        sum(thing.x for thing in unit) / len(unit),
        sum(thing.y for thing in unit) / len(unit),
    )


def _off_middle(unit):
    x, y = _centre(unit)
    return ((x - SIDE / 2) ** 2 + (y - SIDE / 2) ** 2) ** 0.5


def _rank(unit):
    return len(unit) == 1, unit[0].size == "small"


def units_by_salience(things: tuple[Thing, ...]) -> list[Unit]:
    """Returns the units of a scene: what is told first comes first.

    Several things that look the same are one unit and come first, then large
    things, then those nearer to the middle.
    """
    units = {}
    for thing in things:
        units.setdefault(_look(thing), []).append(thing)
    return sorted(
        (tuple(unit) for unit in units.values()),
        key=lambda unit: (_rank(unit), _off_middle(unit)),
    )


def _is_clear(things, looks):
    """Whether which units are told, and their relation, is beyond doubt."""
    units = units_by_salience(things)
    told = {(unit[0].shape, unit[0].colour) for unit in units[:2]}
    if told != {look[:2] for look in looks[:2]}:
        return False
    for one, other in zip(units[1:], units[2:], strict=False):
        near = _off_middle(other) - _off_middle(one) < _MARGIN
        if _rank(one) == _rank(other) and near:
            return False
    first, second = units[:2]
    if any(overlap(a, b) for a in first for b in second):
        return True
    (ax, ay), (bx, by) = _centre(first), _centre(second)
    axes = ("x", "y") if abs(ax - bx) > abs(ay - by) else ("y", "x")
    ratio = 1.6 if len(first) == 1 else 1.25
    return all(
        abs(getattr(a, axes[0]) - getattr(b, axes[0]))
        >= ratio * abs(getattr(a, axes[1]) - getattr(b, axes[1]))
        for a in first
        for b in second
    )


def _relation(first, second, things):
    """Returns how the first unit lies to the second one."""
    if overlap(first[0], second[0]):
        ahead = things.index(first[0]) > things.index(second[0])
        return "front" if ahead else "behind"
    (ax, ay), (bx, by) = _centre(first), _centre(second)
    if abs(ax - bx) > abs(ay - by):
        return "left" if ax < bx else "right"
    return "above" if ay < by else "below"


def write_captions(scene: Scene, rng: np.random.Generator) -> tuple[str, ...]:
    """Returns `CAPTIONS` differing captions, as several people write them.

    Args:
        scene: A scene that `make_scene` returned.
        rng: Where wording, order and detail come from.
    """
    units = units_by_salience(scene.things)
    relation = _relation(*units[:2], scene.things)
    alike = _rank(units[0]) == _rank(units[1])
    if relation == "behind" or (alike and relation in ("right", "below")):
        # People begin in front and, of equals, at the left or above.
        units[:2] = units[1::-1]
        relation = _OPPOSITES[relation]
    captions = {}
    while len(captions) < CAPTIONS:
        captions[_caption(units, relation, len(scene.things), rng)] = None
    return tuple(captions)


def _caption(units, relation, count, rng):
    subject, other = units[:2]
    if rng.random() < 0.27:
        subject, other = other, subject
        relation = _OPPOSITES[relation]
    words = _word(relation, rng)
    a, b = _noun_phrase(subject, rng), _noun_phrase(other, rng)
    verb = "is" if len(subject) == 1 else "are"
    frame = rng.random()
    if frame < 0.48:
        caption = f"{a} {verb} {words} {b}"
    elif frame < 0.68:
        caption = f"there {verb} {a} {words} {b}"
    elif frame < 0.83:
        caption = f"{a} {words} {b}"
    elif frame < 0.94:
        caption = f"we see {a} {words} {b}"
    else:
        caption = f"{words} {b} there {verb} {a}"
    more = rng.random()
    if more < 0.04:
        return f"there are {_NUMBERS[count]} things and {caption}"
    if more < 0.16 and len(units) > 2:
        return f"{caption} and there is {_noun_phrase(units[2], rng)} too"
    return caption


def _noun_phrase(unit, rng):
    """Returns such as `"a large red striped ball"`, `"two small stars"`."""
    thing = unit[0]
    noun = _word(thing.shape, rng)
    if len(unit) > 1:
        noun = _PLURALS.get(noun, noun + "s")
    adjectives = [thing.colour]
    if rng.random() < 0.8:
        adjectives.insert(0, _word(thing.size, rng))
    told = rng.random()
    if thing.texture == "plain":
        if told < 0.03:
            adjectives.append("plain")
    elif told < 0.7:
        adjectives.append(_word(thing.texture, rng))
    elif told < 0.8:
        adjectives.insert(-1, _word(thing.texture, rng))
    elif told < 0.9:
        noun = f"{noun} with {_MARKS[thing.texture]}"
    if len(unit) > 1:
        article = _NUMBERS[len(unit)]
    else:
        article = "an" if adjectives[0][0] in "aeiou" else "a"
    return " ".join([article, *adjectives, noun])


def _word(meaning, rng):
    favourite, other, share = _WORDS[meaning]
    return other if rng.random() < share else favourite
