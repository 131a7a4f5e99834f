"""Sources, and the summary of what was skipped."""

from pipelines.captions import (
    CaptionedImage,
    Skipped,
    Source,
    summarize_skipped,
)


def test_reasons_are_counted_and_names_shown():
    assert summarize_skipped(()) == ""
    skipped = [Skipped("list.txt", "no such list")]
    skipped += [Skipped(f"{n}.jpg", "no such image file") for n in range(4)]
    assert summarize_skipped(skipped, limit=3) == (
        "left out or noted: 5\n"
        "  no such image file (4): 0.jpg, 1.jpg, 2.jpg, and 1 more\n"
        "  no such list (1): list.txt"
    )
    skipped = [Skipped("a", f"reason {n}") for n in range(4)]
    assert summarize_skipped(skipped, limit=2) == (
        "left out or noted: 4\n"
        "  reason 0 (1): a\n"
        "  reason 1 (1): a\n"
        "  for other reasons: 2"
    )


def test_a_source_by_split_and_an_image_by_path_or_function(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"abc")
    images = (
        CaptionedImage("b", "test", ("x",), load=lambda: b"loaded"),
        CaptionedImage("a", "train", ("y",), path=str(tmp_path / "a.jpg")),
        CaptionedImage("c", "test", ("z",), load=lambda: b"loaded"),
    )
    source = Source("mine", images)
    assert source.splits == ("test", "train")
    assert source.split("test") == (images[0], images[2])
    assert source.split("novel") == ()
    assert images[0].read() == b"loaded"
    assert images[1].read() == b"abc"
