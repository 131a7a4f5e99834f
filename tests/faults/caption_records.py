"""Captioned images as files of every format, and a plain reader of each.

The plain readers know nothing of what is doubtful: they return what a file
says, by Python's own parsers, or None where these cannot parse it.
"""

import csv
import dataclasses
import io
import json
import posixpath
import unicodedata

_WORDS = (
    "a dog runs across the green grass while two children play near an old "
    "café 犬 ball red house"
).split()
SPLITS = ("train", "train", "train", "validation", "test")


@dataclasses.dataclass
class Record:
    """An image with its captions."""

    name: str
    split: str
    captions: list[str]


def make_records(rng, count: int = 40) -> list[Record]:
    def caption():
        return " ".join(rng.choice(_WORDS, rng.integers(3, 9)))

    return [
        Record(
            f"{('', 'cats/')[n % 4 == 3]}{n:03}.jpg",
            SPLITS[n % len(SPLITS)],
            [f"{caption()} {n}, one", f"{caption()} {n}. Two"],
        )
        for n in range(count)
    ]


def to_csv(records: list[Record], delimiter: str = ",") -> str:
    file = io.StringIO()
    writer = csv.writer(file, delimiter=delimiter)
    writer.writerow(["file", "caption", "split"])
    for record in records:
        for caption in record.captions:
            writer.writerow([record.name, caption, record.split])
    return file.getvalue()


def to_json_lines(records: list[Record]) -> str:
    rows = [
        {"file": r.name, "captions": r.captions, "split": r.split}
        for r in records
    ]
    return "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)


def to_karpathy(records: list[Record]) -> str:
    images = [
        {
            "filename": posixpath.basename(r.name),
            "filepath": posixpath.dirname(r.name),
            "split": r.split,
            "cocoid": 1000 + n,
            "imgid": n,
            "sentences": [{"raw": caption} for caption in r.captions],
        }
        for n, r in enumerate(records)
    ]
    return json.dumps({"images": images, "dataset": "any"})


def to_coco(records: list[Record]) -> str:
    images, annotations = [], []
    for n, record in enumerate(records):
        images.append({"id": 1000 + n, "file_name": record.name})
        annotations += [
            {"id": len(annotations) + k, "image_id": 1000 + n, "caption": text}
            for k, text in enumerate(record.captions)
        ]
    return json.dumps({"images": images, "annotations": annotations})


def to_tokens(records: list[Record]) -> str:
    return "".join(
        f"{record.name}#{k}\t{caption}\n"
        for record in records
        for k, caption in enumerate(record.captions)
    )


def canonical(name: str) -> str:
    """Returns what all names have in common that may be of one file.

    Systems and programs differ in case, slashes, accents and endings.
    """
    name = unicodedata.normalize("NFC", name.strip().replace("\\", "/"))
    return posixpath.splitext(posixpath.normpath(name.casefold()))[0]


def _gather(rows) -> dict:
    """Returns by name what rows say: splits, then captions, in their order."""
    records = {}
    for name, split, captions in rows:
        if isinstance(name, str):
            record = records.setdefault(posixpath.normpath(name.strip()), [])
            record.append((split, list(captions)))
    return {
        name: ([s for s, _ in rows], [c for _, texts in rows for c in texts])
        for name, rows in records.items()
    }


def _csv_rows(text):
    rows = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    if "file" not in (rows.fieldnames or ()):
        raise KeyError("file")
    for row in rows:
        if None not in row:
            yield row["file"], row["split"], [row["caption"]]


def _json_lines_rows(text):
    for line in text.split("\n"):
        if line.strip():
            row = json.loads(line)
            texts = row["captions"]
            texts = [texts] if isinstance(texts, str) else texts
            yield row.get("file"), row.get("split"), texts


def _karpathy_rows(text):
    for image in json.loads(text)["images"]:
        if isinstance(image, dict):
            keys = image.get("cocoid"), image.get("imgid")
            name = image.get("filename") or str(keys[0] or keys[1])
            name = f"{image.get('filepath') or ''}/{name}"
            sentences = [s.get("raw") for s in image.get("sentences") or ()]
            yield name.lstrip("/"), (keys, image.get("split")), sentences


def _coco_rows(text):
    content = json.loads(text)
    ids = [str(one.get("id")) for one in content["images"]]
    for image in content["images"]:
        if isinstance(image, dict):
            # A number that two have is not that of either.
            keys = image.get("id"), ids.count(str(image.get("id")))
            captions = [
                one.get("caption")
                for one in content["annotations"]
                if isinstance(one, dict)
                and one.get("image_id") == image.get("id")
            ]
            name = image.get("file_name")
            name = str(image.get("id")) if name is None else name
            yield name, keys, captions


def _token_rows(text):
    for line in text.split("\n"):
        key, tab, caption = line.partition("\t")
        name, _, number = key.rpartition("#")
        if tab and number.isdecimal():
            yield name, None, [caption]


def plain_records(kind: str, data: bytes) -> dict | None:
    """Returns by name the splits and captions that a file gives."""
    try:
        return _gather(FORMATS[kind][1](data.decode("utf-8-sig")))
    except (ValueError, KeyError, TypeError, AttributeError, csv.Error):
        return None
    except RecursionError:
        return None


# Of each format its writer, its plain reader and the end of its name.
FORMATS = {
    "csv": (to_csv, _csv_rows, "captions.csv"),
    "json_lines": (to_json_lines, _json_lines_rows, "captions.jsonl"),
    "karpathy": (to_karpathy, _karpathy_rows, "dataset.json"),
    "coco": (to_coco, _coco_rows, "captions.json"),
    "tokens": (to_tokens, _token_rows, "Flickr8k.token.txt"),
}
