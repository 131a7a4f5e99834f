"""Metadata and manifests: equality, JSON, and files that may hold anything."""

import json

import pytest

from pipelines.cache.metadata import (
    Manifest,
    Metadata,
    extract_command,
    ids_digest,
)
from pipelines.errors import UserError
from tests.pipelines.cache.described import described


def test_metadata_goes_through_json():
    metadata = described()
    text = json.dumps(metadata.to_dict())
    assert Metadata.from_dict(json.loads(text)) == metadata
    assert metadata.locations == 15


def test_parts_are_kept_and_make_no_difference():
    parts = ((3, 5, 1), (1, 5, 3))
    metadata = described(parts=parts)
    restored = Metadata.from_dict(json.loads(json.dumps(metadata.to_dict())))
    assert restored.parts == parts
    # An earlier version stored the same annotations with repeated locations.
    earlier = described()
    assert "parts" not in earlier.to_dict()
    assert earlier == metadata and earlier.differences(metadata) == ()
    assert earlier.binding != metadata.binding
    assert Manifest(earlier, 10, 4, "digest").to_dict()["version"] == 2
    # Which readers of that version refuse.
    assert Manifest(metadata, 10, 4, "digest").to_dict()["version"] == 3


def test_every_difference_is_named():
    other = described(
        "float16",
        encoder="vgg16",
        layer="block5_conv3",
        digest="1" * 64,
        resize_mode="squash",
        image_size=96,
        grid=(6, 6),
        depth=8,
        preprocessing="other",
    )
    text = "; ".join(described().differences(other))
    for phrase in (
        "expected encoder vgg19/block5_conv4, found vgg16/block5_conv3",
        "expected resize_mode crop, found squash",
        "expected precision sqrt8, found float16",
        "expected image_size 48, found 96",
        "expected grid (3, 5), found (6, 6)",
        "expected depth 4, found 8",
        f"expected weights' digest {'0' * 64}, found {'1' * 64}",
        "expected preprocessing none, found other",
    ):
        assert phrase in text
    assert described().differences(described()) == ()


@pytest.mark.parametrize(
    "change",
    [{"depth": depth} for depth in (0, 10**9, True, "4")]
    + [{"grid": g} for g in ([3], [3, 10**6], [60000, 60000], 3)]
    + [{"resize_mode": "pad"}, {"resize_mode": []}, {"precision": "int4"}]
    + [{"encoder": ""}, {"encoder": None}, {"layer": "x" * 10_000}]
    + [{"parts": p} for p in (3, [4], [[3, 5, 3]], [[3, 2, 4]], [[3, 5, 4.0]])]
    + [{"parts": [[3, 5, 4], [3, 5, 0]]}, {"parts": [[3, 5, 1]] * 65}]
    + [{"more": 1}],
)
def test_malformed_metadata(change):
    with pytest.raises(UserError, match="Received"):
        Metadata.from_dict({**described().to_dict(), **change})
    for values in (None, [], {}, "x"):
        with pytest.raises(UserError):
            Metadata.from_dict(values)


def test_malformed_manifests(tmp_path):
    manifest = Manifest(described(), 10, 4, ids_digest(["a"]))
    assert manifest.shards == 3
    path = tmp_path / "metadata.json"
    path.write_text(json.dumps(manifest.to_dict()))
    assert Manifest.read(tmp_path) == manifest
    for change in (
        *({"version": 1}, {"version": None}, {"shard_size": 0}),
        *({"images": images} for images in (-1, 0, 1e3)),
        *({"ids_digest": 5}, {"metadata": None}, {"surprise": 1}),
    ):
        path.write_text(json.dumps({**manifest.to_dict(), **change}))
        with pytest.raises(UserError, match="pipelines.extract_features"):
            Manifest.read(tmp_path)
    for text in ("", "[]", "nonsense", "[" * 100_000):
        path.write_text(text)
        with pytest.raises(UserError):
            Manifest.read(tmp_path)


def test_the_command_can_be_pasted():
    assert extract_command("my photos", described()) == (
        "python -m pipelines.extract_features '--annotations=my photos' "
        "--encoder=vgg19 --encoder_layer=block5_conv4 --resize_mode=crop "
        "--precision=sqrt8"
    )


@pytest.mark.parametrize(
    "fields",
    [
        {"layer": "pixels", "precision": "sqrt8", "depth": 3},
        {"layer": "block5_conv4", "precision": "uint8", "depth": 3},
        {"layer": "pixels", "precision": "uint8", "depth": 4},
    ],
)
def test_pixels_without_an_encoder_are_exact(fields):
    with pytest.raises(UserError, match="Expected pixels"):
        described(**fields)
