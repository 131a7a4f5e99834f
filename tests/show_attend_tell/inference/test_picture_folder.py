"""Names of pictures, over several runs into one folder."""

import csv

from PIL import Image

from show_attend_tell.inference.picture_folder import PictureFolder


def draw(folder, *photos):
    """Draws a picture of a grey of its own for each photo."""
    pictures = PictureFolder(str(folder), photos)
    for photo in photos:
        grey = sum(photo.encode()) % 256
        pictures.save(Image.new("RGB", (8, 8), (grey,) * 3), photo)
    pictures.finish()


def test_pictures_of_earlier_runs_stay_those_of_their_photos(tmp_path):
    draw(tmp_path, "a/x.jpg", "b/x.jpg")
    for photos in (("b/x.jpg",), ("c/x.jpg", "c/y.jpg"), ("a/x.jpg",)):
        draw(tmp_path, *photos)
    with open(tmp_path / "pictures.csv", newline="") as file:
        rows = list(csv.reader(file))[1:]
    assert sorted(rows) == [
        ["a/x.jpg", "x.png"],
        ["b/x.jpg", "x-2.png"],
        ["c/x.jpg", "x-3.png"],
        ["c/y.jpg", "y.png"],
    ]
    for photo, name in rows:
        grey = Image.open(tmp_path / name).getpixel((0, 0))[0]
        assert grey == sum(photo.encode()) % 256
