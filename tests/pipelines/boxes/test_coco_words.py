"""Words that name COCO's categories."""

import pytest

from pipelines.boxes.coco_words import find_names, lexicon

# The eighty names, as COCO's instances have them.
COCO = (
    "person,bicycle,car,motorcycle,airplane,bus,train,truck,boat,"
    "traffic light,fire hydrant,stop sign,parking meter,bench,bird,cat,dog,"
    "horse,sheep,cow,elephant,bear,zebra,giraffe,backpack,umbrella,handbag,"
    "tie,suitcase,frisbee,skis,snowboard,sports ball,kite,baseball bat,"
    "baseball glove,skateboard,surfboard,tennis racket,bottle,wine glass,cup,"
    "fork,knife,spoon,bowl,banana,apple,sandwich,orange,broccoli,carrot,"
    "hot dog,pizza,donut,cake,chair,couch,potted plant,bed,dining table,"
    "toilet,tv,laptop,mouse,remote,keyboard,cell phone,microwave,oven,toaster,"
    "sink,refrigerator,book,clock,vase,scissors,teddy bear,hair drier,"
    "toothbrush"
).split(",")
MEANINGS = lexicon(COCO)


def test_every_category_has_its_name():
    assert len(set(COCO)) == 80
    for name in COCO:
        words = name.split()
        assert list(find_names(MEANINGS, words)) == [(len(words) - 1, name)]


SYNONYMS = (
    "dogs=dog,buses=bus,benches=bench,sandwiches=sandwich,knives=knife,"
    "mice=mouse,sheep=sheep,people=person,men=person,ladies=person,"
    "boys=person,children=person,bikes=bicycle,motorbike=motorcycle,"
    "planes=airplane,television=tv,puppies=dog,kitten=cat,sofa=couch,"
    "phone=cell phone,wine glasses=wine glass,cell phones=cell phone,"
    "teddy bears=teddy bear,surf boards=surfboard"
)


@pytest.mark.parametrize("pair", SYNONYMS.split(","))
def test_plurals_and_synonyms(pair):
    words, category = pair.split("=")
    words = words.split()
    assert list(find_names(MEANINGS, words)) == [(len(words) - 1, category)]


def test_what_is_something_else():
    for words in ("train tracks", "bus stop", "a"):
        assert not list(find_names(MEANINGS, words.split()))
    assert list(find_names(MEANINGS, ["tables", "of"])) == [(0, "dining table")]


def test_names_in_a_caption():
    caption = "a man with a hot dog and two dogs near a fire hydrant".split()
    assert list(find_names(MEANINGS, caption)) == [
        (1, "person"),
        (5, "hot dog"),
        (8, "dog"),
        (12, "fire hydrant"),
    ]


def test_other_categories():
    meanings = lexicon(["tennis ball", "berry"])
    assert list(find_names(meanings, "berries and tennis balls".split())) == [
        (0, "berry"),
        (3, "tennis ball"),
    ]
    # "man" is a person only where there is such a category.
    assert list(find_names(meanings, ["man"])) == []
    assert list(find_names(lexicon([]), ["man"])) == []
