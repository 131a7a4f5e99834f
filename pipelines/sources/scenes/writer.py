"""Captions of scenes, as several people write them."""

import numpy as np

from pipelines.sources.scenes.scene import (
    Scene,
    centre_of,
    overlap,
    salience_class,
    units_by_salience,
)

CAPTIONS = 5

# Of each meaning the favourite word, another one, and how often that is used;
# other meanings have one word, their name.
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
    "ball": ("ball", "sphere", 0.25),
    "cube": ("cube", "block", 0.25),
    "moon": ("moon", "crescent", 0.25),
}
_OPPOSITES = {
    "left": "right",
    "right": "left",
    "above": "below",
    "below": "above",
    "front": "behind",
    "behind": "front",
}
_PLURALS = {"cross": "crosses"}
_MARKS = {"striped": "stripes", "spotted": "spots"}
_NUMBERS = {2: "two", 3: "three", 4: "four"}


def write_captions(scene: Scene, rng: np.random.Generator) -> tuple[str, ...]:
    """Returns `CAPTIONS` different captions of a scene of `make_scene`.

    Wording, order and detail come from the random generator.
    """
    units = units_by_salience(scene.things)
    relation = _relation(*units[:2], scene.things)
    alike = salience_class(units[0]) == salience_class(units[1])
    if relation == "behind" or (alike and relation in ("right", "below")):
        # People begin in front and, of equals, at the left or above.
        units[:2] = units[1::-1]
        relation = _OPPOSITES[relation]
    captions = {}  # A set that keeps its order.
    while len(captions) < CAPTIONS:
        captions[_caption(units, relation, len(scene.things), rng)] = None
    return tuple(captions)


def _relation(first, second, things):
    """Returns how the first unit lies to the second one."""
    if overlap(first[0], second[0]):
        ahead = things.index(first[0]) > things.index(second[0])
        return "front" if ahead else "behind"
    (ax, ay), (bx, by) = centre_of(first), centre_of(second)
    if abs(ax - bx) > abs(ay - by):
        return "left" if ax < bx else "right"
    return "above" if ay < by else "below"


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
    detail = rng.random()
    if thing.texture == "plain":
        if detail < 0.03:
            adjectives.append("plain")
    elif detail < 0.7:
        adjectives.append(_word(thing.texture, rng))
    elif detail < 0.8:
        adjectives.insert(-1, _word(thing.texture, rng))
    elif detail < 0.9:
        noun = f"{noun} with {_MARKS[thing.texture]}"
    if len(unit) > 1:
        article = _NUMBERS[len(unit)]
    else:
        article = "an" if adjectives[0][0] in "aeiou" else "a"
    return " ".join([article, *adjectives, noun])


def _word(meaning, rng):
    favourite, other, share = _WORDS.get(meaning, (meaning, meaning, 0.0))
    return other if rng.random() < share else favourite
