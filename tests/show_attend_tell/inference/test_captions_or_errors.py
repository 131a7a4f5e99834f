"""One photo that fails leaves the others, in whichever runtime."""

import numpy as np
import pytest

from show_attend_tell.inference.caption import (
    Caption,
    CaptionerError,
    PhotoCaptioner,
)


class Fake(PhotoCaptioner):
    """Captions a photo by its name and number; some names fail."""

    def __init__(self):
        self.batches = []

    def decoding_of(self, **changes):
        return changes

    def prepare(self, photo):
        if "unreadable" in photo:
            raise MemoryError(photo)
        return photo.upper()

    def generate(self, photos, first, batch_size, decoding):
        self.batches.append(list(photos))
        if "ABSENT" in photos:
            raise CaptionerError("no server")
        if "POISON" in photos:
            raise RuntimeError("poison")
        return [
            ValueError("refused")
            if photo == "REFUSED"
            else Caption(
                (photo, str(first + n), str(batch_size)),
                *(0.0, 0.0, True, np.zeros(0), np.zeros(0)),
            )
            for n, photo in enumerate(photos)
        ]


def outcomes(photos, batch_size=3):
    fake = Fake()
    results = [
        one.text if isinstance(one, Caption) else repr(one)
        for one in fake.captions_or_errors(photos, batch_size)
    ]
    return results, fake.batches


def test_every_photo_has_its_outcome_in_order():
    photos = ["unreadable 1", "a", "unreadable 2", "b", "refused", "c", "d"]
    results, batches = outcomes(photos)
    assert results == [
        "MemoryError('unreadable 1')",
        "A 0 3",
        "MemoryError('unreadable 2')",
        "B 1 3",
        "ValueError('refused')",
        "C 3 3",
        "D 4 3",
    ]
    assert batches == [["A", "B", "REFUSED"], ["C", "D"]]


def test_a_batch_that_fails_goes_one_by_one():
    results, batches = outcomes(["a", "poison", "b", "c"])
    assert results == ["A 0 3", "RuntimeError('poison')", "B 2 3", "C 3 3"]
    assert batches == [["A", "POISON", "B"], ["A"], ["POISON"], ["B"], ["C"]]
    assert outcomes(["poison"]) == (["RuntimeError('poison')"], [["POISON"]])


def test_captions_hold_their_photos_and_errors_no_memory():
    first, error = Fake().captions_or_errors(["a", "unreadable"])
    assert first.photo == "a"
    assert error.__traceback__ is None


def test_photos_may_be_endless():
    def photos():
        yield from ("unreadable", "a", "b", "c")
        raise AssertionError("read too far")

    stream = Fake().captions_or_errors(photos(), 3)
    assert [isinstance(next(stream), Caption) for _ in range(4)] == [
        *(False, True, True, True)
    ]


def test_what_concerns_every_photo_is_raised():
    with pytest.raises(CaptionerError):
        outcomes(["a", "absent"])


def test_a_stream_raises_the_first_error():
    stream = Fake().stream(["a", "poison", "b"])
    assert next(stream).text == "A 0 8"
    with pytest.raises(RuntimeError, match="poison"):
        next(stream)
    with pytest.raises(MemoryError):
        Fake().caption(["a", "unreadable"])
    assert outcomes([]) == ([], [])
