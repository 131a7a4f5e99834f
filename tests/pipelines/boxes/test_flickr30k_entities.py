"""Flickr30k Entities as distributed, and damaged."""

import pytest

from pipelines import boxes as package
from pipelines.boxes import load_boxes
from pipelines.boxes.flickr30k_entities import load_entities
from pipelines.boxes.photo_boxes import Phrase
from pipelines.errors import UserError
from pipelines.words import words_of

XML = """<annotation>
	<filename>36979.jpg</filename>
	<size>
		<width>400</width>
		<height>200</height>
		<depth>3</depth>
	</size>
	<object>
		<name>1</name>
		<bndbox>
			<xmin>1</xmin>
			<ymin>21</ymin>
			<xmax>100</xmax>
			<ymax>200</ymax>
		</bndbox>
	</object>
	<object>
		<name>1</name>
		<name>6</name>
		<bndbox>
			<xmin>201</xmin>
			<ymin>101</ymin>
			<xmax>300</xmax>
			<ymax>150</ymax>
		</bndbox>
	</object>
	<object>
		<name>4</name>
		<bndbox>
			<xmin>0</xmin>
			<ymin>1</ymin>
			<xmax>450</xmax>
			<ymax>40</ymax>
		</bndbox>
	</object>
	<object>
		<name>9</name>
		<scene>1</scene>
		<nobndbox>0</nobndbox>
	</object>
</annotation>
"""
SENTENCES = """\
[/EN#1/people Two young Guys] with [/EN#2/bodyparts hair] in [/EN#9/scene yards]
[/EN#1/people A group of friends] play with [/EN#0/notvisual each other] .
[/EN#6/people The other] of [/EN#1/people guys] in [/EN#4/vehicles/scene subway]
[/EN#6/people A man] on [/EN#4/other the subway] under [/EN#4/other a subway]

"""
# In 400 x 200: pixels 1 to 100 are 0 to 100, 21 to 200 are 20 to 200, ...
FIRST = (0.0, 0.1, 0.25, 1.0)
SECOND = (0.5, 0.5, 0.75, 0.75)
THIRD = (0.0, 0.0, 1.0, 0.2)  # Cut to the photo.


def test_last_words_have_the_boxes_of_their_chains(entities):
    folder = entities("36979", XML, SENTENCES)
    photo = load_entities(folder, ["36979.jpg", "1.jpg"])[0]["36979.jpg"]
    assert {
        name: (named.kind, named.boxes) for name, named in photo.items()
    } == {
        "guys": ("people", (FIRST, SECOND)),
        "friends": ("people", (FIRST, SECOND)),
        "man": ("people", (SECOND,)),
        # Twice "other", once "vehicles" and once "scene".
        "subway": ("other", (THIRD,)),
    }
    # One word of two chains.
    sentences = "[/EN#1/people A man] beside [/EN#4/people a man] ."
    folder = entities("36979", XML, sentences)
    photo = load_entities(folder, ["36979.jpg"])[0]["36979.jpg"]
    assert photo["man"].boxes == (FIRST, SECOND, THIRD)


def test_words_of_a_caption(entities, photos):
    folder = entities("36979", XML, SENTENCES)
    images = photos(**{"36979": (200, 400), "5": (10, 10)})
    boxes = load_boxes(folder, images, 224, "squash")
    assert len(boxes) == 1
    words = "a man rides the subway with guys".split()
    groundings = boxes.groundings("36979.jpg", words)
    assert [g.position for g in groundings] == [1, 4, 6]
    assert [g.kind for g in groundings] == ["people", "other", "people"]
    assert boxes.groundings("5.jpg", words) == []


def test_boxes_are_carried_into_the_crop(entities, photos):
    folder = entities("36979", XML, SENTENCES)
    images = photos(**{"36979": (200, 400)})
    boxes = load_boxes(folder, images, 224, "crop")
    # 200 x 400 becomes 256 x 512, from which rows 16 to 240 and columns 144
    # to 368 are cut. FIRST, up to column 128, is out of sight.
    (guys,) = boxes.groundings("36979.jpg", ["guys"])
    (box,) = guys.boxes
    expected = ((256 - 144) / 224, (128 - 16) / 224, 1, (192 - 16) / 224)
    assert box == pytest.approx(expected)
    # A squared copy of the photo: 256 x 256, of which 16 are cut all around.
    images = photos(**{"36979": (224, 224)})
    boxes = load_boxes(folder, images, 224, "crop")
    (man,) = boxes.groundings("36979.jpg", ["man"])
    expected = [(256 * edge - 16) / 224 for edge in SECOND]
    assert man.boxes[0] == pytest.approx(expected)
    # A word out of sight is not grounded.
    xml = XML.replace("<xmax>300<", "<xmax>90<").replace(">201<", ">2<")
    folder = entities("36979", xml, SENTENCES)
    images = photos(**{"36979": (200, 400)})
    boxes = load_boxes(folder, images, 224, "crop")
    assert boxes.groundings("36979.jpg", ["guys"]) == []
    assert boxes.groundings("36979.jpg", ["subway"]) != []


def test_phrases_of_captions_that_people_marked(entities, photos):
    folder = entities("36979", XML, SENTENCES)
    images = photos(**{"36979": (200, 400)})
    boxes = load_boxes(folder, images, 224, "squash")
    caption = words_of("The other, of guys; in subway!")
    first, second, third = boxes.phrases("36979.jpg", caption)
    assert first == Phrase(0, 2, "people", (pytest.approx(SECOND),))
    assert (second.start, second.stop, len(second.boxes)) == (3, 4, 2)
    assert third == Phrase(5, 6, "vehicles", (pytest.approx(THIRD),))
    # What has no box is no phrase: "each other", of chain 0.
    caption = words_of("A group of friends play with each other")
    (friends,) = boxes.phrases("36979.jpg", caption)
    assert (friends.start, friends.stop) == (0, 4)
    # A caption of other words has none, nor has another photo.
    assert boxes.phrases("36979.jpg", words_of("Two guys")) == ()
    assert boxes.phrases("1.jpg", caption) == ()


def test_flickr8ks_names_of_the_same_photos(entities):
    folder = entities("1000268201", XML, SENTENCES)
    id = "1000268201_693b08cb0e.jpg"
    assert list(load_entities(folder, [id])[0]) == [id]


@pytest.mark.parametrize("id", ["../36979.jpg", "a/../../x", "..", "", "\0"])
def test_a_name_leads_nowhere(entities, id):
    folder = entities("36979", XML, SENTENCES)
    assert not load_entities(folder, [id])[0] or id == "../36979.jpg"


def test_no_photo_is_annotated(entities, photos):
    folder = entities("36979", XML, SENTENCES)
    with pytest.raises(UserError, match=r"1 photos, the first ones \['7.jpg'"):
        load_boxes(folder, photos(**{"7": (9, 9)}), 224, "squash")


BOMB = """<?xml version="1.0"?>
<!DOCTYPE a [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>
<annotation><size><width>&b;</width></size></annotation>
"""
# The same in EBCDIC after a declaration in ASCII, which hides the DOCTYPE
# from a search in the bytes.
HIDDEN = b'<?xml version="1.0" encoding="cp037"?>' + (
    BOMB.partition("\n")[2].encode("cp037")
)


@pytest.mark.parametrize(
    ("xml", "message"),
    [
        (BOMB, "without DOCTYPE"),
        (HIDDEN, "36979.xml"),
        (BOMB.encode("utf-16"), "without DOCTYPE"),
        (" " * (2**20 + 1), "at most 1048576 bytes"),
        ("<annotation>", "Expected XML"),
        ("<a>" * 100_000, "Expected XML"),
        ("", "Expected XML"),
        ("<annotation></annotation>", "<width>.*Received: None"),
        (XML.replace(">400<", ">0<"), "width=0, height=200"),
        (XML.replace(">400<", ">inf<"), "<width>.*'inf'"),
        (XML.replace(">21<", ">nan<"), "object 1. Received: 'nan'"),
        (XML.replace(">21<", ">x<"), "<ymin> in .*object 1. Received: 'x'"),
        (XML.replace("<ymin>101</ymin>", ""), "<ymin> in .*object 2.*None"),
        (XML.replace(">201<", ">301<"), "object 2. .*xmin=301, .*xmax=300"),
        (XML.replace(">450<", ">-3<"), "object 3. .*xmin=0, .*xmax=-3"),
        (
            XML.replace(">201<", ">401<").replace(">300<", ">410<"),
            "inside the photo of 400 x 200 in .*object 2",
        ),
    ],
)
def test_malformed_annotations(entities, xml, message):
    folder = entities("36979", xml, SENTENCES)
    with pytest.raises(UserError, match=message) as caught:
        load_entities(folder, ["36979.jpg"])
    assert "36979.xml" in str(caught.value)


@pytest.mark.parametrize(
    ("sentences", "message"),
    [
        ("A dog .\n[/EN#1/people A man runs .", "line 2. Received: .*A man"),
        ("[/EN#1/people]", "line 1"),
        ("[/EN#1 A man]", "line 1"),
        ("[/EN#1/people A [/EN#2/people man] runs]", "line 1"),
        ("[/EN#x/people A man]", "line 1"),
        (b"[/EN#1/people A \xff]", "Expected UTF-8 in"),
        ("[/EN#1/x " * 100_000, "line 1"),
        ("[/EN#1/x" + " " * 1_000_000, "line 1"),
        ("[/EN#1" + "/x" * 500_000, "line 1"),
        ("x" * (2**20 + 1), "at most 1048576 bytes"),
    ],
)
def test_malformed_sentences(entities, sentences, message):
    folder = entities("36979", XML, sentences)
    with pytest.raises(UserError, match=message) as caught:
        load_entities(folder, ["36979.jpg"])
    assert "36979.txt" in str(caught.value)


def test_sentences_are_missing(entities, tmp_path):
    folder = entities("36979", XML, SENTENCES)
    (tmp_path / "entities/Sentences/36979.txt").unlink()
    with pytest.raises(UserError, match="file that can be read.*36979.txt"):
        load_entities(folder, ["36979.jpg"])


def test_too_many_boxes(entities, photos, monkeypatch):
    monkeypatch.setattr(package, "_MAX_BOXES", 1)
    folder = entities("36979", XML, SENTENCES)
    with pytest.raises(UserError, match="36979.jpg at most 1 boxes.*: 2"):
        load_boxes(folder, photos(**{"36979": (200, 400)}), 224, "squash")
