"""What is in a scene."""

import dataclasses

SIDE = 224  # Side of a scene, in pixels.


@dataclasses.dataclass(frozen=True)
class Thing:
    """One thing of a scene; it fills a square.

    `x` and `y` are its centre and `width` its side, an even number, in pixels;
    `size` is `"small"` or `"large"`; the others are named in `rendering`.
    """

    shape: str
    colour: str
    texture: str
    size: str
    x: int
    y: int
    width: int

    @property
    def corners(self) -> tuple[int, int, int, int]:
        """Left, top, right and bottom, in pixels."""
        half = self.width // 2
        return self.x - half, self.y - half, self.x + half, self.y + half

    @property
    def box(self) -> tuple[float, float, float, float]:
        """Left, top, right and bottom, as fractions of the image's side."""
        return tuple(edge / SIDE for edge in self.corners)


@dataclasses.dataclass(frozen=True)
class Scene:
    """Things from back to front, and the seed of the background."""

    things: tuple[Thing, ...]
    background: int = 0


def overlap(a: Thing, b: Thing) -> int:
    """Returns how many pixels the squares of two things share."""
    left, top, right, bottom = zip(a.corners, b.corners, strict=True)
    wide, high = min(right) - max(left), min(bottom) - max(top)
    return max(wide, 0) * max(high, 0)


Unit = tuple[Thing, ...]  # Things that look the same and are named together.


def centre_of(unit: Unit) -> tuple[float, float]:
    """Returns the mean of the centres of a unit."""
    return (
        sum(thing.x for thing in unit) / len(unit),
        sum(thing.y for thing in unit) / len(unit),
    )


def eccentricity(unit: Unit) -> float:
    """Returns a unit's distance to the middle of the scene, in pixels."""
    x, y = centre_of(unit)
    return ((x - SIDE / 2) ** 2 + (y - SIDE / 2) ** 2) ** 0.5


def salience_class(unit: Unit) -> tuple[bool, bool]:
    """Returns what ranks units: several things first, then large ones."""
    return len(unit) == 1, unit[0].size == "small"


def units_by_salience(things: tuple[Thing, ...]) -> list[Unit]:
    """Returns the units of a scene in the order captions name them.

    Several things come first, then large ones, then those nearer the middle.
    """
    units = {}
    for thing in things:
        kind = thing.shape, thing.colour, thing.texture, thing.size
        units.setdefault(kind, []).append(thing)
    return sorted(
        (tuple(unit) for unit in units.values()),
        key=lambda unit: (salience_class(unit), eccentricity(unit)),
    )
