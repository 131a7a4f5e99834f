"""The rules that all lists share: what is doubtful, and how much may be."""

import pytest

from pipelines.captions import Skipped
from pipelines.errors import UserError
from pipelines.sources.gathering import Gathering, canonical_split
from pipelines.sources.image_folder import ImageFolder


@pytest.fixture
def folder(tmp_path, write_images):
    write_images(tmp_path, *(f"{number}.jpg" for number in range(500)))
    return ImageFolder(str(tmp_path))


def _gather(folder, captions):
    gathering = Gathering("mine", "Mend it with --data_dir.")
    for id, texts in captions.items():
        if gathering.add_image(id, "train", folder):
            for text in texts:
                gathering.add_caption(id, text)
    return gathering


def test_images_come_in_order_with_their_captions(folder, tmp_path):
    source = _gather(folder, {"2.jpg": ["b", " a\n"], "1.jpg": ["c"]}).source()
    assert source.name == "mine"
    assert [image.id for image in source.images] == ["2.jpg", "1.jpg"]
    assert source.images[0].captions == ("b", "a")
    assert source.images[0].path == str(tmp_path / "2.jpg")
    assert source.images[0].read() == (tmp_path / "2.jpg").read_bytes()
    assert source.skipped == ()


@pytest.mark.parametrize(
    "caption, reason",
    [
        ("", "the caption is empty"),
        (" \t\n", "the caption is empty"),
        ("x" * 2001, "the caption is over 2000 characters"),
        (None, "the caption is not text"),
        (7, "the caption is not text"),
        ("half a pair \ud800", "the caption is not text"),
        ("...", "the caption has no word"),
        ("\U0001f415\U0001f415 !", "the caption has no word"),
        ("a dog\0runs", "the caption has control characters"),
        ("a dog \x1b[2J", "the caption has control characters"),
    ],
)
def test_only_the_doubtful_caption_is_dropped(folder, caption, reason):
    captions = {"1.jpg": ["a", "b", "c", caption], "2.jpg": ["x" * 2000]}
    source = _gather(folder, captions).source()
    assert source.images[0].captions == ("a", "b", "c")
    assert source.images[1].captions == ("x" * 2000,)
    assert source.skipped == (Skipped("1.jpg", reason),)


def test_an_image_without_a_usable_caption_is_left_out(folder):
    captions = {f"{number}.jpg": ["a"] for number in range(7)}
    source = _gather(folder, {**captions, "7.jpg": []}).source()
    assert len(source.images) == 7
    assert source.skipped == (Skipped("7.jpg", "no caption"),)


@pytest.mark.parametrize(
    "name", ["", "a\nb.jpg", "\x1b[2J.jpg", "x" * 1025, "\udcff.jpg", None, 3]
)
def test_what_cannot_be_a_name_is_left_out_and_printable(folder, name):
    captions = {f"{number}.jpg": ["a"] for number in range(3)}
    source = _gather(folder, {**captions, name: ["b"]}).source()
    assert len(source.images) == 3
    (skipped,) = source.skipped
    assert skipped.reason == "not a name of an image"
    assert skipped.name.isprintable() and len(skipped.name) < 1100
    skipped.name.encode("utf-8")


def test_an_image_named_again_keeps_its_first_split(folder):
    gathering = _gather(folder, {f"{n}.jpg": ["a"] for n in range(6)})
    assert not gathering.add_image("0.jpg", "train", folder)
    assert not gathering.add_image("1.jpg", "test", folder)
    source = gathering.source()
    assert source.splits == ("train",)
    assert source.skipped == (
        Skipped("0.jpg", "named twice in train; the first counts"),
        Skipped("1.jpg", "named in train and again in test; the first counts"),
    )


def _with_missing(present, missing):
    return {
        **{f"{number}.jpg": ["a"] for number in range(present)},
        **{f"missing{number}.jpg": ["a"] for number in range(missing)},
    }


@pytest.mark.parametrize(
    ("present", "missing", "accepted"),
    # 2 % of 100 are 2, but three are allowed; a quarter of 8, of 4, of 12.
    [
        *((97, 3, True), (6, 2, True), (3, 1, True), (9, 3, True)),
        *((96, 4, False), (5, 3, False), (5, 2, False), (2, 1, False)),
        *((0, 1, False), (490, 10, True), (490, 11, False)),
    ],
)
def test_a_small_share_may_be_missing(folder, present, missing, accepted):
    names = [f"{number}.jpg" for number in range(present)]
    gathering = Gathering("mine", "Mend it with --data_dir.")
    for number, name in enumerate(names):
        gathering.add_image(f"{number}", "train", folder, name)
        gathering.add_caption(f"{number}", "a")
    for number in range(missing):
        gathering.add_image(f"missing{number}.jpg", "train", folder)
    if accepted:
        source = gathering.source()
        assert (len(source.images), len(source.skipped)) == (present, missing)
        return
    with pytest.raises(UserError) as error:
        gathering.source()
    text = str(error.value)
    assert f"{missing} of {present + missing}, first missing0.jpg: " in text
    assert "--data_dir" in text


def test_captions_have_their_error_share(folder):
    captions = {f"{number}.jpg": ["a", ""] for number in range(50)}
    with pytest.raises(UserError, match="2% of the captions.*50 of 100"):
        _gather(folder, captions).source()


def test_no_image_at_all_is_an_error():
    with pytest.raises(UserError, match="name none.*--data_dir"):
        Gathering("mine", "Mend it with --data_dir.").source()


@pytest.mark.parametrize(
    "given, expected",
    [
        ("train", "train"),
        ("restval", "train"),
        ("val", "validation"),
        ("dev", "validation"),
        ("Test", "test"),
        (" held_out-2 ", "held_out-2"),
        ("../../etc", None),
        ("", None),
        (3, None),
        (None, None),
    ],
)
def test_split_names(given, expected):
    assert canonical_split(given) == expected


def test_captions_of_every_script_and_with_line_breaks_stay(folder):
    captions = ("狗在跑。", "собака", "कुत्ता", "℃", "a\ndog\truns", "3")
    source = _gather(folder, {"1.jpg": captions}).source()
    assert source.images[0].captions == captions


@pytest.mark.parametrize(
    ("names", "captions", "mend"),
    [
        (["0.jpg", "missing.jpg"], ["a"], "or take them out of list.csv"),
        (["missing.jpg"], ["a"], "Mend it with --data_dir."),
        (["../0.jpg"], ["a"], "Name files below the image folder in list.csv"),
        (["0.jpg"], ["..."], "Correct that in list.csv"),
        (["0.jpg"], [], "Correct that in list.csv"),
    ],
)
def test_the_mend_is_that_of_the_cause(folder, names, captions, mend):
    gathering = Gathering("mine", "Mend it with --data_dir.", "list.csv")
    for name in names:
        if gathering.add_image(name, "train", folder):
            for caption in captions:
                gathering.add_caption(name, caption)
    with pytest.raises(UserError) as error:
        gathering.source()
    assert str(error.value).endswith(mend)


def test_one_file_under_two_names_is_one_image(folder):
    gathering = _gather(folder, {f"{n}.jpg": ["a"] for n in range(4)})
    assert not gathering.add_image("0.JPG", "test", folder)
    assert gathering.source().skipped == (
        Skipped("0.JPG", "its file is that of 0.jpg, too"),
    )
