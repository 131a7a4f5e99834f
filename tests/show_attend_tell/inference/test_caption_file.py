"""Files of captions replace only what they wrote themselves."""

import json

import pytest

from pipelines.errors import UserError
from show_attend_tell.inference.caption_file import CaptionFile


@pytest.mark.parametrize("content", [[], [{"image_id": 1, "caption": "mine"}]])
def test_captions_of_users_in_cocos_form_stay(tmp_path, content):
    path = tmp_path / "human.json"
    path.write_text(json.dumps(content, indent=2) + "\n")
    with pytest.raises(UserError, match="stays as it is"):
        CaptionFile(str(path))


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("own.CSV", b"file,rank,caption,log_probability,score\r\n"),
        ("own.Json", b"[]\n"),
    ],
)
def test_the_case_of_an_ending_does_not_matter(tmp_path, name, content):
    path = tmp_path / name
    CaptionFile(str(path)).write()
    assert path.read_bytes() == content


@pytest.mark.parametrize("name", ["captions.csv", "captions.json"])
def test_a_run_without_captions_empties_nothing(tmp_path, name):
    path = tmp_path / name
    CaptionFile(str(path)).write()
    assert path.exists()
    begin = b"file,rank,caption,log_probability,score\r\nearlier"
    if name.endswith(".json"):
        begin = b'[\n  {\n    "image_id": "a.jpg",\n    "caption": "a dog",\n'
        begin += b'    "phrases": []\n  }\n]\n'
    path.write_bytes(begin)
    CaptionFile(str(path)).write()
    assert path.read_bytes() == begin
