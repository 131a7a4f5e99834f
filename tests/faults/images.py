"""Attacks whatever decodes images: captioners, client and exported models.

An image of any format, damaged or made to deceive, lies between sound ones.
Good pixels are those of Pillow's own decoding of the entire file; whoever
refuses a file that Pillow reads must say that it is too large or of another
format. Sound images get the same caption as on their own.
"""

import csv
import functools
import io
import json
import os
import pathlib
import warnings

import numpy as np
from PIL import AvifImagePlugin, Image, ImageOps

from pipelines.printing import printable
from tests.faults.campaign import Case, Fault, Limits
from tests.faults.commands import call, check_error, check_lines
from tests.faults.crafted_images import crafted_images
from tests.faults.image_files import encode, image_files, photos, picture
from tests.faults.image_mutations import is_legal_png, mutate_image

ATTACK = "Images, damaged or made to cost memory and time, among sound ones"
LIMITS = Limits(seconds=5, mebibytes=1024)

SIZE = 32  # Pixels of a side, in the graph.
# What every decoder must take, if Pillow does.
_COMMON = ("JPEG", "MPO", "PNG", "WEBP", "GIF", "BMP", "TIFF")
_ORACLE_PIXELS = 4_000_000
_MODEL, _CRAFTED = "small.tflite", "crafted"


def prepare(folder: pathlib.Path) -> None:
    """Makes a captioner, and the files that are crafted."""
    if not (folder / _MODEL).exists():
        from show_attend_tell.exporting import tflite
        from tests.show_attend_tell.exporting import small

        tflite.check = lambda *_: None  # Tests check it.
        tflite.export_tflite(small.captioner(), folder / _MODEL)
    crafted = folder / _CRAFTED
    if not crafted.exists():
        crafted.mkdir()
        for number, (name, data) in enumerate(crafted_images().items()):
            (crafted / f"{number:02} {name}").write_bytes(data)


def start(folder: pathlib.Path):
    """Returns the function that tries a case."""
    # Pillow warns of what its user cannot see.
    warnings.simplefilter("ignore")
    Image.MAX_IMAGE_PIXELS = None
    crafted = sorted((folder / _CRAFTED).iterdir())
    files = [*image_files().values(), *photos().values()]
    good = [
        encode(picture(40, 30, 7), "PNG"),
        encode(picture(30, 40, 8), "PNG"),
    ]
    decode = graph_decoder()
    squares = decode([*good])[0]
    single = captions_of(folder / _MODEL, *good)

    def try_case(case: Case) -> bool:
        if case.number < len(crafted):
            case.attack = crafted[case.number].name[3:]
            data = crafted[case.number].read_bytes()
        else:
            sound = files[case.rng.integers(len(files))]
            case.attack, data = mutate_image(sound, case.rng, files)
        plain = functools.cache(lambda: plain_pixels(data))
        taken = try_pixels(case, data, plain)
        try_servable(case, data, plain)
        try_graph(case, data, good, squares, decode, plain)
        try_folder(case, data, good, folder / _MODEL, single)
        return taken

    return try_case


def plain_pixels(data: bytes) -> tuple[str, np.ndarray, int] | None:
    """Decodes a file as Pillow does: format, RGB pixels and orientation.

    None where Pillow cannot, or where it has more than the oracle's pixels.
    """
    try:
        with _opened(data) as image:
            if image.width * image.height > _ORACLE_PIXELS:
                return None
            kind = image.format
            image.load()
            image, turned = _upright(image)
            return kind, _rgb(image), turned
    except Exception:
        return None


def _opened(data):
    try:
        return Image.open(io.BytesIO(data))
    except Exception:
        # It asks for the first of the brands alone.
        return AvifImagePlugin.AvifImageFile(io.BytesIO(data))


def _upright(image):
    try:
        turned = image.getexif().get(0x0112, 1)
        return ImageOps.exif_transpose(image), turned
    except Exception:
        return image, None  # Broken EXIF turns nothing.


def _rgb(image):
    if image.mode.startswith("I"):
        high = np.clip(np.asarray(image) >> 8, 0, 255).astype(np.uint8)
        return np.stack([high] * 3, axis=-1)
    if image.has_transparency_data:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    return np.asarray(image.convert("RGB"))


def try_pixels(case, data, plain) -> bool:
    """Tries the decoder of all captioners; returns whether it took it."""
    from pipelines.errors import UserError
    from pipelines.images.decoding import decode_image

    try:
        with case.measured():
            pixels = decode_image(data, "mutated.bin")
    except UserError as error:
        check_error(error, "mutated.bin")
        check_refusal(data, plain(), str(error))
        return False
    expected = plain()
    if expected is None and pixels.size <= 3 * _ORACLE_PIXELS:
        raise Fault("silent change", "Pillow cannot decode it")
    if expected is not None and not np.array_equal(pixels, expected[1]):
        raise Fault("silent change", f"other pixels, {expected[0]}")
    return True


def check_refusal(data, plain, message) -> None:
    """Checks that an image that Pillow decodes is not called damaged."""
    if plain and plain[0] in _COMMON and "damaged" in message:
        if plain[0] != "PNG" or is_legal_png(data):
            raise Fault("lost good result", f"{plain[0]}: {message}")


def try_servable(case, data, plain) -> None:
    """Tries what the client sends to a server."""
    from pipelines.errors import UserError
    from show_attend_tell.serving.photos import servable_image

    try:
        with case.measured():
            sent = servable_image(data)
    except UserError as error:
        check_error(error)
        check_refusal(data, plain(), str(error))
        return
    if sent == data or plain() is None:
        return
    again = plain_pixels(sent)
    if again is None or again[2] not in (1, None):
        raise Fault("silent change", "client: sends what Pillow cannot decode")
    if again[0] == "PNG" and not np.array_equal(again[1], plain()[1]):
        raise Fault("silent change", "client: sends other pixels")


def graph_decoder():
    """Returns the decoder of exported models, traced once."""
    import tensorflow as tf

    from pipelines.images.graph_decoding import decode_squares

    @tf.function(input_signature=[tf.TensorSpec([None], tf.string)])
    def decode(images):
        return decode_squares(images, SIZE, "crop")

    return lambda images: [x.numpy() for x in decode(tf.constant(images))]


def try_graph(case, data, good, squares, decode, plain) -> None:
    """Tries the decoder of exported models, between sound images."""
    from pipelines.images.decoding import fit_image

    with case.measured():
        answer, valid = decode([good[0], data, good[1]])
    if not (valid[0] and valid[2] and np.array_equal(answer[::2], squares)):
        raise Fault("lost good result", "graph: neighbours have changed")
    if not valid[1] and answer[1].any():
        raise Fault("silent change", "graph: not valid, but not black")
    expected = plain() if valid[1] else None
    if expected and is_legal_png(data) and expected[2] in (1, None):
        fitted = fit_image(np.ascontiguousarray(expected[1]), SIZE, "crop")
        if not np.array_equal(fitted, answer[1]):
            raise Fault("silent change", "graph: other pixels")


def captions_of(model: pathlib.Path, *photos: bytes) -> list[str]:
    """Returns the captions of photos, each on its own."""
    from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner

    captioner = TFLiteCaptioner(str(model))
    return [captioner.caption(photo).text for photo in photos]


# Names of photos that command a terminal, a spreadsheet or a program.
_NAMES = (
    "b.jpg", "=1+1.jpg", "-b.jpg", "@b.jpg", "b\n.jpg", "\x1b[31mb.jpg",
    os.fsdecode(b"caf\xe9.jpg"), "\u202egpj.jpg", "b,\"'.jpg", "%s{b}.jpg",
    "b" * 230 + ".jpg", " b .jpg", "<b>.jpg",
)  # fmt: skip


def try_folder(case, data, good, model, single) -> None:
    """Captions a folder that holds the image, by the command."""
    photos = case.folder / "photos"
    photos.mkdir()
    for name, content in zip("ac", good, strict=True):
        (photos / f"{name}.png").write_bytes(content)
    name = _NAMES[case.rng.integers(len(_NAMES))]
    (photos / name).write_bytes(data)
    kind = str(case.rng.choice(["json", "csv"]))
    output = case.folder / f"captions.{kind}"
    with case.measured():
        code, printed, errors = call(
            "caption", f"--model={model}", f"--output={output}", photos
        )
    check_lines(printed)
    check_lines(errors)
    captions = _read_captions(output)
    if [captions.pop("a", None), captions.pop("c", None)] != single:
        raise Fault("lost good result", f"{captions}, {errors[-300:]}")
    if code not in (0, 1) or len(captions) != 1 - code:
        raise Fault("exit code", f"{code}: {captions}, {errors[-300:]}")
    if code and printable(name) not in errors:
        raise Fault("message", f"does not name the image: {errors[-300:]}")


def _read_captions(path: pathlib.Path) -> dict[str, str]:
    """Returns captions by the name of the photo, without its ending."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".json":
        rows = [(e["image_id"], e["caption"]) for e in json.loads(text)]
    else:
        rows = [row[:3:2] for row in csv.reader(io.StringIO(text))][1:]
        if any(cell.startswith(("=", "+", "-", "@")) for row in rows
               for cell in row):  # fmt: skip
            raise Fault("harm", f"a formula: {rows}")
    return {pathlib.PurePath(name).stem: caption for name, caption in rows}
