"""Letters of figures: fonts, and text that they can show."""

import functools
import unicodedata

from PIL import ImageFont

from pipelines.errors import UserError

_NO_GLYPH = "\U0010fffe"  # a noncharacter: every font draws its "missing" sign


def load_font(size: int, path: str | None) -> ImageFont.FreeTypeFont:
    """Returns Pillow's own font, or that of a file."""
    if path is None:
        return ImageFont.load_default(size)
    try:
        return ImageFont.truetype(path, size)
    except OSError as error:
        raise UserError(
            "Expected `font` to be a TrueType or OpenType file. "
            f"Received: font={str(path)!r} ({error})"
        ) from error


def truncated(text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
    """Returns the text, or as much of its beginning as fits."""
    if font.getlength(text) <= width:
        return text
    while text and font.getlength(text + "...") > width:
        text = text[:-1]
    return text + "..."


def legible(text: str, font: ImageFont.FreeTypeFont) -> str:
    """Replaces what the font lacks: by the letter without accent, or `?`."""

    @functools.cache
    def glyph(character: str) -> tuple:
        mask = font.getmask(character)
        return mask.size, bytes(mask)

    replaced = []
    for character in " ".join(unicodedata.normalize("NFC", text).split()):
        if character != " " and glyph(character) == glyph(_NO_GLYPH):
            base = unicodedata.normalize("NFKD", character)[0]
            invisible = unicodedata.category(character)[0] in "MC"
            replacement = "?" if glyph(base) == glyph(_NO_GLYPH) else base
            character = "" if invisible else replacement
        replaced.append(character)
    return "".join(replaced)


def wrapped(text: str, font: ImageFont.FreeTypeFont, width: float) -> list[str]:
    """Returns the lines of a text that is at most `width` pixels wide."""
    lines = [""]
    for word in text.split():
        longer = f"{lines[-1]} {word}".strip()
        if lines[-1] and font.getlength(longer) > width:
            lines.append(word)
        else:
            lines[-1] = longer
    return lines
