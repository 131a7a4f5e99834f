"""Parses captions of scenes and checks every statement they make.

The grammar, where `[ ]` may be left out and `{ }` may be repeated:

    caption  = clause {"and" clause}
    clause   = "there are" number "things"
             | ["there" be | "we see"] entity
               {["which"] [be] relation entity} ["too"]
             | relation entity ["there"] be entity ["too"]
    entity   = ("a" | "an" | "the" | number) {adjective} noun ["with" marks]
    relation = "left of" | "to the left of" | "above" | "over" | ...

It shares no words with the writer of the captions and allows more than that
one writes, but at most six entities in a caption.
"""

import dataclasses
import itertools
import typing

from pipelines.sources.scenes.scene import SIDE, Scene, Thing, overlap

Box = tuple[float, float, float, float]

_NOUNS = {
    "ball": "ball", "balls": "ball", "sphere": "ball", "spheres": "ball",
    "cube": "cube", "cubes": "cube", "block": "cube", "blocks": "cube",
    "cone": "cone", "cones": "cone", "star": "star", "stars": "star",
    "heart": "heart", "hearts": "heart", "ring": "ring", "rings": "ring",
    "moon": "moon", "moons": "moon", "crescent": "moon", "crescents": "moon",
    "cross": "cross", "crosses": "cross",
}  # fmt: skip
_ADJECTIVES = {
    "large": ("size", "large"),
    "big": ("size", "large"),
    "small": ("size", "small"),
    "little": ("size", "small"),
    "plain": ("texture", "plain"),
    "striped": ("texture", "striped"),
    "spotted": ("texture", "spotted"),
    "dotted": ("texture", "spotted"),
    **{
        colour: ("colour", colour)
        for colour in ("red orange yellow green blue purple pink black".split())
    },
}
_MARKS = {"stripes": "striped", "spots": "spotted", "dots": "spotted"}
_NUMBERS = {"two": 2, "three": 3, "four": 4}
_RELATIONS = {
    ("to", "the", "left", "of"): "left",
    ("to", "the", "right", "of"): "right",
    ("left", "of"): "left",
    ("right", "of"): "right",
    ("above",): "above",
    ("over",): "above",
    ("below",): "below",
    ("under",): "below",
    ("in", "front", "of"): "front",
    ("partly", "covering"): "front",
    ("behind",): "behind",
    ("partly", "hidden", "by"): "behind",
}
_BE = ("is", "are")
_MOST_ENTITIES = 6  # Bounds the ways to check; a scene has four things.


class Entity(typing.NamedTuple):
    """A noun phrase: the position of each word and what it means."""

    noun: tuple[int, str]
    details: tuple[tuple[int, str, str], ...]  # Position, attribute, value.
    number: tuple[int, int] | None


class ParsedCaption(typing.NamedTuple):
    """The content of a caption.

    `relations` are positions of the words, relation, and indices of subject
    and object; `totals` are positions of the number and of the word "things",
    and the number.
    """

    words: tuple[str, ...]
    entities: tuple[Entity, ...]
    relations: tuple[tuple[tuple[int, ...], str, int, int], ...]
    totals: tuple[tuple[int, int, int], ...]


@dataclasses.dataclass(frozen=True)
class Statement:
    """One statement of a caption, and whether it is true in the scene.

    Its kind is `"object"`, `"colour"`, `"texture"`, `"size"`, `"relation"` or
    `"number"`; positions are those of its words, from 0.
    """

    kind: str
    positions: tuple[int, ...]
    true: bool


@dataclasses.dataclass(frozen=True)
class Grounding:
    """The boxes of all things that a word names, as fractions of the image.

    A kind is `"noun"`, `"adjective"`, or the class of things in a photo.
    """

    position: int
    word: str
    kind: str
    boxes: tuple[Box, ...]

    @property
    def positions(self) -> range:
        """The position, as those of a phrase."""
        return range(self.position, self.position + 1)


@dataclasses.dataclass(frozen=True)
class Verdict:
    """The result of checking a caption, in the order of its words.

    It is `parsed` if the caption follows the grammar; otherwise it is empty.
    """

    parsed: bool
    statements: tuple[Statement, ...] = ()
    groundings: tuple[Grounding, ...] = ()

    @property
    def true(self) -> bool:
        """Whether it parsed, states something, and all it states is true."""
        return bool(self.statements) and all(s.true for s in self.statements)


class _NotGrammatical(Exception):
    """The words do not follow the grammar."""


class _Parser:
    """Recursive descent over the words; one method for each rule."""

    def __init__(self, words):
        self.words, self.at = words, 0
        self.entities, self.relations, self.totals = [], [], []

    def caption(self):
        self.clause()
        while self.at < len(self.words):
            self.expect("and")
            self.clause()

    def clause(self):
        if self.total():
            return
        relation = self.relation()
        if relation:
            other = self.entity()
            self.accept("there")
            self.expect(*_BE)
            self.relations.append((*relation, self.entity(), other))
        else:
            if self.accept("there"):
                self.expect(*_BE)
            elif self.accept("we"):
                self.expect("see")
            subject = self.entity()
            while relation := self.tail():
                other = self.entity()
                self.relations.append((*relation, subject, other))
                subject = other
        self.accept("too")

    def total(self):
        number, noun = self.at + 2, self.at + 3
        start = self.words[self.at : noun + 1]
        if start[:2] + start[3:] != ("there", "are", "things"):
            return False
        if start[2] not in _NUMBERS:
            raise _NotGrammatical
        self.totals.append((number, noun, _NUMBERS[start[2]]))
        self.at += 4
        return True

    def tail(self):
        """Reads `["which"] [be] relation`; nothing where a clause ends."""
        begun = self.accept("which")
        begun = self.accept(*_BE) or begun
        relation = self.relation()
        if begun and not relation:
            raise _NotGrammatical
        return relation

    def relation(self):
        for length in (4, 3, 2, 1):
            words = self.words[self.at : self.at + length]
            if len(words) == length and words in _RELATIONS:
                start, self.at = self.at, self.at + length
                return tuple(range(start, self.at)), _RELATIONS[words]
        return None

    def entity(self):
        """Reads an entity and returns its index."""
        if len(self.entities) == _MOST_ENTITIES:
            raise _NotGrammatical
        start = self.at
        article = self.expect("a", "an", "the", *_NUMBERS)
        number = (start, _NUMBERS[article]) if article in _NUMBERS else None
        details = []
        while (word := self.accept(*_ADJECTIVES)) is not None:
            details.append((self.at - 1, *_ADJECTIVES[word]))
        noun = self.at, _NOUNS[self.expect(*_NOUNS)]
        if self.accept("with"):
            marks = self.expect(*_MARKS)
            details.append((self.at - 1, "texture", _MARKS[marks]))
        self.entities.append(Entity(noun, tuple(details), number))
        return len(self.entities) - 1

    def accept(self, *words):
        if self.at < len(self.words) and self.words[self.at] in words:
            self.at += 1
            return self.words[self.at - 1]
        return None

    def expect(self, *words):
        word = self.accept(*words)
        if word is None:
            raise _NotGrammatical
        return word


def parse_caption(text: str) -> ParsedCaption | None:
    """Returns the content of a caption, or `None` outside the grammar."""
    words = tuple(text.lower().rstrip(" .").split())
    parser = _Parser(words)
    try:
        parser.caption()
    except _NotGrammatical:
        return None
    content = parser.entities, parser.relations, parser.totals
    return ParsedCaption(words, *map(tuple, content))


def holds(relation: str, a: Thing, b: Thing, scene: Scene) -> bool:
    """Whether a relation holds between two things of a scene.

    "left", "right", "above", "below": the centre lies on that side by at
    least a tenth of the image, and by at least 0.8 of the distance across.
    "front", "behind": the things' squares share at least 3 % of the smaller
    one, and the right one of them was rendered last.
    """
    if relation in ("front", "behind"):
        ahead = scene.things.index(a) > scene.things.index(b)
        meets = overlap(a, b) >= 0.03 * min(a.width, b.width) ** 2
        return meets and ahead == (relation == "front")
    along, across = b.x - a.x, b.y - a.y
    if relation in ("above", "below"):
        along, across = across, along
    if relation in ("right", "below"):
        along = -along
    return along >= max(0.1 * SIDE, 0.8 * abs(across))


def check_caption(text: str, scene: Scene) -> Verdict:
    """Checks every statement of a caption against a scene.

    Each noun phrase is taken to mean one thing, or several where a number is
    stated, and no thing is meant twice. Of all ways to do so, the one that
    makes most statements true counts, and of those the one with most true
    nouns. Where several ways are equally good, a word has the boxes of all.

    A number is true if exactly so many things look as described. "a" and
    "the" state no number.
    """
    parsed = parse_caption(text)
    if parsed is None:
        return Verdict(False)
    best, ways = None, []
    for way in _ways(parsed.entities, scene.things):
        statements = _statements(parsed, way, scene)
        true = [statement for statement in statements if statement.true]
        score = len(true), sum(s.kind == "object" for s in true)
        if best is None or score > best:
            best, ways = score, []
        if score == best:
            ways.append((way, statements))
    statements = sorted(ways[0][1], key=lambda statement: statement.positions)
    return Verdict(True, tuple(statements), _groundings(parsed, ways, scene))


def _ways(entities, things):
    """Yields a tuple of meant things for each entity, no thing twice."""
    single = [(), *((thing,) for thing in things)]
    counts = range(len(things) + 1)
    groups = (itertools.combinations(things, count) for count in counts)
    several = list(itertools.chain.from_iterable(groups))
    options = [several if entity.number else single for entity in entities]
    yield from _disjoint(options, frozenset())


def _disjoint(options, taken):
    if not options:
        yield ()
        return
    for group in options[0]:
        if taken.isdisjoint(group):
            for rest in _disjoint(options[1:], taken.union(group)):
                yield (group, *rest)


def _statements(parsed, way, scene):
    statements = [
        Statement("number", (number,), len(scene.things) == count)
        for number, _, count in parsed.totals
    ]
    for entity, group in zip(parsed.entities, way, strict=True):
        statements.extend(_entity_statements(entity, group, scene.things))
    for positions, relation, subject, other in parsed.relations:
        pairs = list(itertools.product(way[subject], way[other]))
        true = pairs and all(holds(relation, *pair, scene) for pair in pairs)
        statements.append(Statement("relation", positions, bool(true)))
    return statements


def _entity_statements(entity, group, things):
    position, shape = entity.noun
    stated = [(position, "object", "shape", shape)]
    stated += [(at, kind, kind, value) for at, kind, value in entity.details]
    for at, kind, attribute, value in stated:
        true = [getattr(thing, attribute) == value for thing in group]
        yield Statement(kind, (at,), bool(true) and all(true))
    if entity.number:
        at, number = entity.number
        alike = list(things)
        for _, _, name, value in stated:
            alike = [thing for thing in alike if getattr(thing, name) == value]
        true = len(alike) == number and set(alike) == set(group)
        yield Statement("number", (at,), true)


def _groundings(parsed, ways, scene):
    """Returns the boxes of what each noun and adjective truly names."""
    named = {noun: set(scene.things) for _, noun, _ in parsed.totals}
    for way, statements in ways:
        true = {s.positions for s in statements if s.true}
        for entity, group in zip(parsed.entities, way, strict=True):
            for at in (entity.noun[0], *(at for at, _, _ in entity.details)):
                meant = named.setdefault(at, set())
                if (at,) in true:
                    meant.update(group)
    return tuple(
        Grounding(
            at,
            parsed.words[at],
            "adjective" if parsed.words[at] in _ADJECTIVES else "noun",
            tuple(thing.box for thing in scene.things if thing in named[at]),
        )
        for at in sorted(named)
    )
