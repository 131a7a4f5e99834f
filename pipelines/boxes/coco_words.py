"""The words that name COCO's categories in captions.

A category is named by its name, by the synonyms below, and by the plurals
of these. Of two words that are a name together, neither is another: a "hot
dog" is no dog. The synonyms are few and common; what they miss is not counted.
"""

from collections.abc import Iterable, Mapping, Sequence

Words = tuple[str, ...]
Lexicon = Mapping[Words, str | None]

_SYNONYMS = {
    "person": "man, woman, boy, girl, child, kid, baby, toddler, lady, guy, "
    "gentleman, adult, player, rider, skier, snowboarder, skateboarder, surfer",
    "bicycle": "bike",
    "car": "taxi",
    "motorcycle": "motorbike",
    "airplane": "plane, aeroplane, jet",
    "boat": "ship, sailboat",
    "traffic light": "stoplight",
    "fire hydrant": "hydrant",
    "cat": "kitten",
    "dog": "puppy",
    "sheep": "lamb",
    "handbag": "purse",
    "skis": "ski",
    "snowboard": "snow board",
    "sports ball": "ball, tennis ball",
    "baseball bat": "bat",
    "baseball glove": "glove, mitt",
    "skateboard": "skate board",
    "surfboard": "surf board",
    "tennis racket": "racket, racquet, tennis racquet",
    "donut": "doughnut",
    "couch": "sofa",
    "potted plant": "plant",
    "dining table": "table",
    "tv": "television",
    "mouse": "computer mouse",
    "remote": "remote control",
    "cell phone": "phone, cellphone",
    "refrigerator": "fridge",
    "hair drier": "hairdryer, hair dryer",
}
# Not the thing itself, though its name comes first.
_OTHERS = (
    "train track, train station, bus stop, bus station, toilet paper, "
    "dog house, bird house, pizza box"
)
_PLURALS = {
    "person": ("people", "persons"),
    "man": ("men",),
    "woman": ("women",),
    "gentleman": ("gentlemen",),
    "child": ("children",),
    "mouse": ("mice", "mouses"),
    "knife": ("knives",),
    "sheep": (),
    "skis": (),
    "scissors": (),
}


def lexicon(categories: Iterable[str]) -> Lexicon:
    """Returns the category that words name, of some such as `"hot dog"`.

    Words that together name something else are there with `None`.
    """
    meanings = {}
    for name in _OTHERS.split(", "):
        meanings.update(dict.fromkeys(_forms(name)))
    # Names come last: they win over another category's synonym.
    categories = tuple(categories)
    for name in categories:
        synonyms = _SYNONYMS[name].split(", ") if name in _SYNONYMS else ()
        for synonym in synonyms:
            meanings.update(dict.fromkeys(_forms(synonym), name))
    for name in categories:
        meanings.update(dict.fromkeys(_forms(name), name))
    return meanings


def find_names(
    meanings: Lexicon, words: Sequence[str]
) -> Iterable[tuple[int, str]]:
    """Yields the names in a caption: the position of the last word, and what.

    Longer names come before those that they hold.
    """
    longest = max(map(len, meanings), default=0)
    at = 0
    while at < len(words):
        for length in range(longest, 0, -1):
            name = tuple(words[at : at + length])
            if len(name) == length and name in meanings:
                if meanings[name] is not None:
                    yield at + length - 1, meanings[name]
                at += length
                break
        else:
            at += 1


def _forms(name: str) -> list[Words]:
    """Returns a name and its plurals, as words."""
    *first, last = name.split()
    return [(*first, form) for form in (last, *_plurals(last))]


def _plurals(word: str) -> tuple[str, ...]:
    if word in _PLURALS:
        return _PLURALS[word]
    if word.endswith(("s", "x", "z", "ch", "sh")):
        return (f"{word}es",)
    if word.endswith("y") and word[-2:-1] not in ("a", "e", "o", "u", ""):
        return (f"{word[:-1]}ies",)
    return (f"{word}s",)
