"""Attacks caption files: for training in every form, and for scoring.

Images whose entries a file still has as they were keep their captions, and no
image gets a caption that the file does not give it; or an error of one line
names the file.
"""

import collections
import csv
import functools
import io
import json
import pathlib
import unicodedata

from tests.faults.campaign import Case, Fault, Limits
from tests.faults.caption_records import (
    FORMATS,
    canonical,
    make_records,
    plain_records,
    to_csv,
)
from tests.faults.commands import check_error
from tests.faults.json_mutations import mutate_json
from tests.faults.mutations import mutate

ATTACK = "Caption files: damaged, of other encodings and forms, malicious"
LIMITS = Limits(seconds=5, mebibytes=512)

# Texts that control a terminal, a spreadsheet, a page or a parser.
MALICIOUS = (
    "<script>alert(1)</script>", "=HYPERLINK(\"http://x\")", "+1+1", "@SUM(1)",
    "\x1b[2J\x1b[31m", "a\r\nb", "\u202egnp", "a\0b", "\ud800", "x" * 200_000,
    "' OR 1=1 --", "${jndi:ldap://x}", "%n%n%s", "../../etc/passwd", "",
    "...", "\U0001f600", "]]>", "&lt;b&gt;", "\ufeff", "\u2028", ",,,", '"""',
)  # fmt: skip
# In place of what a file says, where nobody can tell.
OPEN = {}
_ENCODINGS = ("utf-16", "utf-16-le", "utf-8-sig", "cp1252", "utf-32")


def prepare(folder: pathlib.Path) -> None:
    """Writes the images that files name; all are the same."""
    from tests.faults.image_files import encode, picture

    data = encode(picture(8, 8, 0), "JPEG")
    (folder / "cats").mkdir(exist_ok=True)
    for n in range(40):
        (folder / f"{n:03}.jpg").write_bytes(data)
        (folder / "cats" / f"{n:03}.jpg").write_bytes(data)


def start(folder: pathlib.Path):
    """Returns the function that tries a case."""
    return functools.partial(try_case, folder)


def try_case(images: pathlib.Path, case: Case) -> bool:
    """Tries a file, for training and for scoring."""
    kind = str(case.rng.choice(list(FORMATS)))
    records = make_records(case.rng)
    write, _, name = FORMATS[kind]
    before = plain_records(kind, write(records).encode())
    attack = _ATTACKS[case.rng.integers(len(_ATTACKS))]
    data, plain = attack(case, kind, records)
    path = case.folder / name
    path.write_bytes(data)
    if plain is None:
        plain = plain_records(kind, data)
    taken = False
    for read in (_read_source, _read_references):
        got = _measured(case, read, kind, images, path)
        if got is not None:
            check(got, before, plain)
            taken = True
    return taken


def _measured(case, read, kind, images, path):
    from pipelines.errors import UserError

    try:
        with case.measured():
            return read(kind, images, path)
    except UserError as error:
        check_error(error, path.name)
        return None


def _read_source(kind, images, path):
    from pipelines.sources import load_source

    dataset = {"csv": "folder", "json_lines": "folder", "tokens": "flickr8k"}
    if kind == "tokens":
        return None  # Its lists give the splits; see the references.
    source = load_source(dataset.get(kind, kind), str(images), str(path))
    return {image.id: list(image.captions) for image in source.images}


def _read_references(kind, images, path):
    from show_attend_tell.metrics.reference_files import (
        FILE_NAME,
        read_references,
    )

    images = read_references(str(path)).images
    return {i.names[FILE_NAME]: list(i.captions) for i in images}


def check(got: dict, before: dict, plain: dict | None) -> None:
    """Compares what was read with the file as it was, and as it is.

    Args:
        got: By image, the captions that were read.
        before: What the sound file says.
        plain: What the attacked file says, or None where that is open.
    """
    if plain is None or plain is OPEN:
        return
    given, names = collections.defaultdict(set), collections.Counter()
    for name, (_, captions) in plain.items():
        key = canonical(name)
        names[key] += 1
        texts = {c.strip() for c in captions if isinstance(c, str)}
        given[key] |= texts
        given[key.rpartition("/")[2]] |= texts
    read = collections.defaultdict(list)
    for name, captions in got.items():
        key = canonical(name)
        read[key] += captions
        if others := set(captions) - given[key]:
            raise Fault("silent change", f"{name!r}: {list(others)[:2]}"[:300])
    for name, record in before.items():
        key = canonical(name)
        # Rows of names that may be of one file gather.
        if plain.get(name) == record and names[key] == 1:
            captions = read[key if key in read else key.rpartition("/")[2]]
            if captions != record[1]:
                raise Fault("lost good result", f"{name!r}: {captions}"[:300])


def _bytes(case, kind, records):
    """Damages the bytes of a file."""
    other = FORMATS["csv"][0](records).encode()
    name, data = mutate(FORMATS[kind][0](records).encode(), case.rng, [other])
    case.attack = f"bytes, {name}"
    return data, None


def _structure(case, kind, records):
    """Damages what a format is made of."""
    text = FORMATS[kind][0](records)
    if kind in ("karpathy", "coco"):
        case.attack, text = mutate_json(json.loads(text), case.rng)
        return text.encode(errors="surrogatepass"), None
    lines = text.splitlines(keepends=True)
    chosen = int(case.rng.integers(len(lines)))
    if kind == "json_lines":
        case.attack, line = mutate_json(json.loads(lines[chosen]), case.rng)
        lines[chosen] = line + "\n"
    else:
        case.attack = "lines"
        for _ in range(case.rng.integers(1, 4)):
            _mutate_lines(lines, int(case.rng.integers(len(lines))), case.rng)
    return "".join(lines).encode(errors="surrogatepass"), None


def _mutate_lines(lines, chosen, rng):
    line = lines[chosen]
    operation = rng.integers(8)
    if operation == 0:
        del lines[chosen]
        lines.append("\n")
    elif operation == 1:
        lines.insert(int(rng.integers(len(lines))), line)
    elif operation == 2:
        lines[chosen] = line.replace(",", "", 1)
    elif operation == 3:
        lines[chosen] = line.rstrip("\r\n") + ",more,fields\r\n"
    elif operation == 4:
        lines[chosen] = line.replace('"', "", 1)
    elif operation == 5:
        lines[chosen] = '"' + line
    elif operation == 6:
        lines.insert(chosen, str(rng.choice([",,\r\n", "\r\n", " \n", "\t\n"])))
    else:
        lines[chosen] = line.replace(".jpg", str(rng.choice(MALICIOUS[:8])), 1)


def _malicious(case, kind, records):
    """Puts malicious texts into captions and names."""
    case.attack = "malicious texts"
    for _ in range(case.rng.integers(1, 4)):
        record = records[case.rng.integers(len(records))]
        text = str(MALICIOUS[case.rng.integers(len(MALICIOUS))])
        if case.rng.random() < 0.7:
            record.captions[case.rng.integers(2)] = text
        else:
            record.name = text
    text = FORMATS[kind][0](records)
    return text.encode(errors="surrogatepass"), None


def _encoding(case, kind, records):
    """Writes the file as other programs do; its content is the same."""
    encoding = str(case.rng.choice(_ENCODINGS))
    newline = str(case.rng.choice(["\n", "\r\n", "\r"]))
    case.attack = f"encoding {encoding}"
    text = FORMATS[kind][0](records)
    if encoding == "cp1252":
        for record in records:
            record.captions = [c.replace("犬", "é") for c in record.captions]
        text = FORMATS[kind][0](records)
    plain = plain_records(kind, text.encode())
    text = text.replace("\r\n", "\n").replace("\n", newline)
    return text.encode(encoding), plain


def _dialect(case, kind, records):
    """Writes CSV as spreadsheets do, and names as file systems do."""
    case.attack = "CSV of spreadsheets"
    plain = plain_records(kind, FORMATS[kind][0](records).encode())
    if kind != "csv":
        case.attack = "names in NFD"
        records[0].captions[0] += " café"
        text = unicodedata.normalize("NFD", FORMATS[kind][0](records))
        return text.encode(), plain_records(kind, text.encode())
    delimiter = str(case.rng.choice([",", ";", "\t"]))
    text = to_csv(records, delimiter)
    if case.rng.random() < 0.3:
        text = f"sep={delimiter}\r\n{text}"
    if case.rng.random() < 0.5:
        text += (delimiter * 2 + "\r\n") * int(case.rng.integers(1, 2000))
    return text.encode(str(case.rng.choice(["utf-8", "utf-16"]))), plain


def _bombs(case, kind, records):
    """Writes files that cost memory or time."""
    bomb = case.rng.integers(6)
    case.attack = f"bomb {bomb}"
    text = FORMATS[kind][0](records)
    if bomb == 0:
        text = "[" * 200_000
    elif bomb == 1:
        text = '{"a":' * 100_000
    elif bomb == 2:
        text += "\n" * 3_000_000
    elif bomb == 3:
        text += '"' + "x" * 20_000_000
    elif bomb == 4:
        text = '{"images": [' + "1," * 1_000_000 + "1]}"
    else:
        file = io.StringIO()
        header = ["file", "caption", *map(str, range(100_000))]
        csv.writer(file).writerows([header, ["000.jpg", "a dog"]])
        text = file.getvalue()
    return text.encode(), OPEN


_ATTACKS = (
    *[_bytes] * 12, *[_structure] * 12, *[_malicious] * 6, *[_encoding] * 4,
    *[_dialect] * 4, _bombs,
)  # fmt: skip
