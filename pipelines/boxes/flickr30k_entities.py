"""Flickr30k Entities: the phrases of a photo's captions and their boxes.

Plummer et al. (2015). `Sentences/36979.txt` has a caption a line, in which
phrases name the chain (all phrases of one thing) and its types:

    [/EN#137644/people A group of friends] playing [/EN#137645/other cards] .

`Annotations/36979.xml` has the photo's size, and objects. Each has the names
of its chains, and a box in pixels from 1, both ends inside, or none:

    <annotation>
      <size><width>500</width><height>375</height><depth>3</depth></size>
      <object>
        <name>137644</name>
        <bndbox><xmin>1</xmin><ymin>21</ymin><xmax>250</xmax><ymax>375</ymax>
        </bndbox>
      </object>
      <object><name>137645</name><scene>0</scene><nobndbox>1</nobndbox></object>
    </annotation>

A phrase is named by its last word, which is nearly always its head: "A group
of friends" is named "friends". A word of another caption of that photo names
what all phrases with the same last word are of, word for word: "friend" is
not named there. Numbers and pronouns name nothing.
"""

import collections
import os
import re
import xml.etree.ElementTree
from collections.abc import Iterable, Iterator

from pipelines.boxes.photo_boxes import (
    Box,
    BoxesByName,
    NamedBoxes,
    Phrase,
    PhrasesByCaption,
    cut_box,
)
from pipelines.errors import UserError
from pipelines.files import read_text
from pipelines.words import words_of

_MAX_BYTES = 2**20  # bytes; those of the data set have at most some 20,000
_MAX_PIXELS = 10**6  # pixels
_PHRASE = re.compile(r"\[/EN#(\d+)((?:/[A-Za-z]+)+)\s([^\[\]]*+)\]")
# Words that stand for a thing, or count, and name none.
NAMELESS = frozenset(
    "one two three four five six seven eight nine ten several many few some "
    "all both each other others another it its he him his she her hers they "
    "them their this that these those who which what something someone".split()
)


def is_entities(path: str) -> bool:
    """Whether a folder has the two folders of Flickr30k Entities."""
    return all(
        os.path.isdir(os.path.join(path, name))
        for name in ("Annotations", "Sentences")
    )


def load_entities(
    folder: str, ids: Iterable[str]
) -> tuple[dict[str, BoxesByName], dict[str, PhrasesByCaption]]:
    """Loads the boxes, as fractions of the photo, of those that are annotated.

    Ids are file names of Flickr30k (`36979.jpg`), or of Flickr8k, whose
    photos have the same number (`1000268201_693b08cb0e.jpg`). A name is the
    last word of phrases, its kind the type that most of these have.

    Returns:
        Of each photo the boxes by name, and of each of its captions the
        phrases with boxes, of the first type that each has.
    """
    photos, marked = {}, {}
    for id in ids:
        for name in _file_names(id):
            path = os.path.join(folder, "Annotations", f"{name}.xml")
            if os.path.exists(path):
                sentences = os.path.join(folder, "Sentences", f"{name}.txt")
                photos[id], marked[id] = _photo(_read_chains(path), sentences)
                break
    return photos, marked


def read_phrases(
    folder: str, id: str
) -> Iterator[tuple[list[str], list[tuple[int, int]]]]:
    """Yields the words of each caption of a photo, and its phrases in them.

    A phrase is `words[start:stop]`, whether it has a box or not. Ids are those
    of `load_entities`; a photo that is not annotated has no captions.
    """
    for name in _file_names(id):
        path = os.path.join(folder, "Sentences", f"{name}.txt")
        if os.path.exists(path):
            for words, phrases in _read_sentences(path):
                yield words, [(start, stop) for start, stop, *_ in phrases]
            return


def _file_names(id: str) -> list[str]:
    stem = os.path.splitext(os.path.basename(id))[0]
    if not re.fullmatch(r"[A-Za-z0-9_-]+", stem):
        return []
    flickr8k = re.fullmatch(r"(\d+)_[0-9a-f]+", stem)
    return [stem, flickr8k[1]] if flickr8k else [stem]


def _photo(
    chains: dict[str, list[Box]], sentences: str
) -> tuple[BoxesByName, PhrasesByCaption]:
    kinds, boxes, captions = {}, {}, {}
    for words, spans in _read_sentences(sentences):
        phrases = []
        for start, stop, entity, types in spans:
            if entity not in chains:
                continue
            phrases.append(Phrase(start, stop, types[0], tuple(chains[entity])))
            if (name := words[stop - 1]) not in NAMELESS:
                kinds.setdefault(name, collections.Counter()).update(types)
                # A dictionary for a set that keeps its order.
                named = boxes.setdefault(name, {})
                named.update(dict.fromkeys(chains[entity]))
        captions[tuple(words)] = tuple(phrases)
    by_name = {
        name: NamedBoxes(kinds[name].most_common(1)[0][0], tuple(boxes[name]))
        for name in boxes
    }
    return by_name, captions


def _read_sentences(
    path: str,
) -> Iterator[tuple[list[str], list[tuple[int, int, str, list[str]]]]]:
    """Yields the words of each sentence, and its phrases in them.

    A phrase is its start and stop, its entity and its types; one without a
    word is left out.
    """
    for number, line in enumerate(
        read_text(path, max_bytes=_MAX_BYTES).splitlines(), start=1
    ):
        words, phrases, end, count = [], [], 0, 0
        for phrase in _PHRASE.finditer(line):
            entity, types, text = phrase.groups()
            words += words_of(line[end : phrase.start()])
            start, end, count = len(words), phrase.end(), count + 1
            words += words_of(text)
            if len(words) > start:
                types = types[1:].split("/")
                phrases.append((start, len(words), entity, types))
        if count != line.count("[/EN#"):
            raise UserError(
                "Expected phrases such as [/EN#137645/other cards] in "
                f"{path}, line {number}. Received: {line[:200]!r}"
            )
        yield words + words_of(line[end:]), phrases


def _read_chains(path: str) -> dict[str, list[Box]]:
    """Returns the boxes of each chain that has some."""
    root = _parse(read_text(path, max_bytes=_MAX_BYTES), path)
    width, height = _numbers(root.find("size"), ("width", "height"), path)
    if width < 1 or height < 1:
        raise UserError(
            f"Expected the size of the photo in {path}. Received: "
            f"width={width:g}, height={height:g}"
        )
    chains = {}
    for number, thing in enumerate(root.findall("object"), start=1):
        if (corners := thing.find("bndbox")) is None:
            continue
        where = f"{path}, object {number}"
        names = ("xmin", "ymin", "xmax", "ymax")
        left, top, right, bottom = _numbers(corners, names, where)
        edges = (left - 1) / width, (top - 1) / height
        box = cut_box((*edges, right / width, bottom / height))
        if box is None:
            raise UserError(
                f"Expected a box inside the photo of {width:g} x {height:g} "
                f"in {where}. Received: xmin={left:g}, ymin={top:g}, "
                f"xmax={right:g}, ymax={bottom:g}"
            )
        for name in thing.findall("name"):
            chains.setdefault((name.text or "").strip(), []).append(box)
    return chains


def _parse(text: str, path: str) -> xml.etree.ElementTree.Element:
    # Entities, which can grow without bound, are only defined in a DOCTYPE.
    # In text that was decoded it cannot hide in another encoding.
    if "<!DOCTYPE" in text:
        raise UserError(f"Expected XML without DOCTYPE in {path}; take it out.")
    try:
        return xml.etree.ElementTree.fromstring(text)
    except (xml.etree.ElementTree.ParseError, ValueError) as error:
        raise UserError(f"Expected XML in {path}: {error}") from error


def _numbers(parent, names: tuple[str, ...], where: str) -> list[float]:
    """Returns the numbers in some children of an element."""
    numbers = []
    for name in names:
        text = None if parent is None else parent.findtext(name)
        try:
            number = float(text)
        except (TypeError, ValueError):
            number = float("nan")
        if not abs(number) <= _MAX_PIXELS:
            raise UserError(
                f"Expected a number of pixels as <{name}> in {where}. "
                f"Received: {text!r:.100}"
            )
        numbers.append(number)
    return numbers
