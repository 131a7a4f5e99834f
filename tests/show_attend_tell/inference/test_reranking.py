"""Consensus reranking: by hand, by loops, and of a run."""

import collections
import dataclasses
import json
import math
import pathlib
import shutil

import numpy as np
import pytest

from pipelines.cache.metadata import Metadata
from pipelines.errors import UserError
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.inference import reranking
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.reranking import (
    CAPTIONS_FILE,
    NUMBERS_FILE,
    ConsensusReranker,
    photo_descriptors,
)
from tests.show_attend_tell.conftest import command_environment

# More photos of each subject than there are neighbours.
PHOTOS, LOCATIONS, DEPTH = 160, 6, 8
SUBJECTS = ("dog", "girl", "boat", "horse")
METADATA = Metadata(
    "vgg19", "block5_conv4", "0" * 64, "vgg19", "crop", 224, (2, 3), DEPTH,
    "sqrt8",
)  # fmt: skip


def captions_of(photo, rng):
    """Three captions of what a photo shows, which is photo modulo four."""
    subject = SUBJECTS[photo % 4]
    grounds = ("beach", "field", "road")
    return [
        f"A {subject} on the {grounds[rng.integers(3)]}.",
        f"The {subject} runs on a {grounds[rng.integers(3)]}",
        f"{subject}s and a {subject}",
    ]


def annotations_of(photos, seed):
    """A large value at the depth of the subject, at some location."""
    rng = np.random.default_rng(seed)
    annotations = rng.normal(0, 0.3, (len(photos), LOCATIONS, DEPTH))
    for row, photo in zip(annotations, photos, strict=True):
        row[rng.integers(LOCATIONS), photo % 4] += 6.0
    return annotations.astype(np.float32)


@pytest.fixture(scope="module")
def texts():
    rng = np.random.default_rng(1)
    return [captions_of(photo, rng) for photo in range(PHOTOS)]


@pytest.fixture(scope="module")
def reranker(texts):
    descriptors = photo_descriptors(annotations_of(range(PHOTOS), 2))
    return ConsensusReranker(descriptors, texts)


def caption(text, score=0.0, finished=True):
    words = tuple(text.split())
    attention = np.zeros((len(words), 1, 1), np.float32)
    gate = np.zeros(len(words), np.float32)
    return Caption(words, score, score, finished, attention, gate)


def test_a_descriptor_is_the_mean_and_the_maximum_of_roots():
    photo = np.array([[[4.0, -9.0], [16.0, 0.0]]], np.float32)
    np.testing.assert_allclose(photo_descriptors(photo), [[3, -1.5, 4, 0]])


def equations_by_loops(descriptors, texts, given, captions):
    """The equations of `ConsensusReranker`, photo by photo and word by word.

    Returns:
        The cosines of photos given with those of `texts`, and with captions.
    """
    words = [[t.lower().strip(".").split() for t in each] for each in texts]
    count = collections.Counter(
        w for each in words for w in {w for text in each for w in text}
    )
    names = sorted(w for w, n in count.items() if n >= 5)

    def tf_idf(each):
        rarity = [math.log((len(texts) + 1) / count[w]) for w in names]
        row = [each.count(w) * r for w, r in zip(names, rarity, strict=True)]
        return np.array(row) / np.sqrt(np.sum(np.square(row)))

    rows = np.array([sum(map(tf_idf, each)) / len(each) for each in words])
    usual = rows.mean(axis=0)
    rows, captions = rows - usual, np.array([*map(tf_idf, captions)]) - usual
    x = descriptors.astype(np.float16).astype(float)
    mean, deviation = x.mean(axis=0), x.std(axis=0) + 1e-6
    x, given = (x - mean) / deviation, (given - mean) / deviation

    def distances(a, b):
        return np.array([[np.sum((p - q) ** 2) for q in b] for p in a])

    scale = np.median(distances(x, x))
    kernel = np.exp(-distances(x, x) / scale) + 0.3 * np.eye(len(x))
    weights = np.linalg.inv(kernel) @ rows
    predicted = np.exp(-distances(given, x) / scale) @ weights
    predicted /= np.linalg.norm(predicted, axis=1)[:, None]
    return [
        predicted @ each.T / np.linalg.norm(each, axis=1)
        for each in (rows, captions)
    ]


def test_similar_photos_are_those_of_the_equations(reranker, texts):
    annotations = annotations_of(range(8), 3)
    descriptors = photo_descriptors(annotations_of(range(PHOTOS), 2))
    captions = [t.split() for t in ("a dog on the road", "girls and a zebra")]
    similarity, matches = equations_by_loops(
        descriptors, texts, photo_descriptors(annotations), captions
    )
    predicted = reranker.predict_words(annotations)
    for photo, words in enumerate(predicted):
        # Weights are kept to eleven bits.
        match = reranker.match(captions, words)
        np.testing.assert_allclose(match, matches[photo], atol=5e-4)
    neighbours = reranker.nearest(predicted)
    assert neighbours.shape == (8, reranking.NEIGHBOURS)
    for photo, (row, nearest) in enumerate(
        zip(similarity, neighbours, strict=True)
    ):
        assert len(set(nearest)) == reranking.NEIGHBOURS
        # Ties, as of photos with the same words, may stand in any order.
        best = np.sort(row)[::-1][: reranking.NEIGHBOURS]
        np.testing.assert_allclose(row[nearest], best, atol=1e-3)
        assert np.all(nearest[:10] % 4 == photo % 4)


def test_agreement_is_the_mean_of_pycocoevalcaps_cider_d(reranker, texts):
    from pycocoevalcap.cider.cider_scorer import CiderScorer

    captions = ["a dog on the road", "the girl runs", "a zebra on a beach", ""]
    photos = np.array([0, 5, 9])
    plain = [[t.lower().strip(".") for t in each] for each in texts]
    expected = np.zeros((len(captions), len(photos)))
    for c, text in enumerate(captions):
        for p, photo in enumerate(photos):
            # Rarity is that of all photos: each is there with itself.
            scorer = CiderScorer()
            for each in plain:
                scorer += (each[0], each)
            scorer.ctest[photo] = type(scorer)(text, plain[photo]).ctest[0]
            expected[c, p] = scorer.compute_score()[1][photo]
    assert expected.max() > 1
    agreement = reranker.agreement([text.split() for text in captions], photos)
    np.testing.assert_allclose(agreement, expected.mean(axis=1), atol=1e-9)


def test_the_best_agrees_most_and_scores(reranker):
    annotations = annotations_of([1], 5)
    captions = [
        caption("a dog on the road", -0.2),
        caption("a girl on the road", -1.0),
        caption("the girl runs on a girl", -0.5),
        caption("a girl on the beach", -0.1, finished=False),
    ]
    (ranked,) = reranker.rerank([captions], annotations)
    words = [c.words for c in captions]
    (predicted,) = reranker.predict_words(annotations)
    (nearest,) = reranker.nearest(predicted[None])
    consensus = reranker.agreement(words, nearest)
    consensus += reranker.match(words, predicted)
    scores = {
        c.text: value + 0.4 * c.score
        for c, value in zip(captions, consensus, strict=True)
    }
    for one in ranked:
        assert one.score == pytest.approx(scores[one.text])
    assert ranked[0].text == "a girl on the road"
    assert ranked[-1].text == "a girl on the beach"  # It was cut.
    middle = [one.score for one in ranked[:-1]]
    assert middle == sorted(middle, reverse=True)
    # A likelier caption wins where both agree alike.
    twice = [caption("a girl", -0.9), caption("a girl", -0.3)]
    (ranked,) = reranker.rerank([twice], annotations)
    assert [one.log_probability for one in ranked] == [-0.3, -0.9]


def test_photos_are_needed():
    for descriptors, texts in ((np.zeros((0, 4)), []), (np.zeros((2, 4)), [])):
        with pytest.raises(ValueError, match="descriptor"):
            ConsensusReranker(descriptors, texts)
    one = ConsensusReranker(np.ones((1, 2 * DEPTH)), [["..."]])
    with pytest.raises(ValueError, match=r"\(1, 0\).*\(1, 3\)"):
        ConsensusReranker(np.ones((1, 2)), [["..."]], np.zeros((1, 3)))
    predicted = one.predict_words(annotations_of([0], 0))
    assert one.nearest(predicted).tolist() == [[0]]
    assert one.agreement([["a"], []], np.array([0])).tolist() == [0.0, 0.0]


def test_annotations_of_another_size_are_refused(reranker):
    with pytest.raises(UserError, match="of 8 numbers.*Received: 3"):
        reranker.predict_words(np.zeros((1, LOCATIONS, 3), np.float32))


def test_what_is_read_is_what_was_written(reranker, tmp_path, monkeypatch):
    reranker.save(str(tmp_path), METADATA)
    monkeypatch.delattr(ConsensusReranker, "_solve")  # It takes the longest.
    read = ConsensusReranker.load(str(tmp_path), METADATA)
    annotations = annotations_of(range(8), 6)
    assert read.captions == reranker.captions
    np.testing.assert_array_equal(
        read.predict_words(annotations), reranker.predict_words(annotations)
    )


def change(**values):
    def changed(folder):
        path = folder / CAPTIONS_FILE
        content = json.loads(path.read_text())
        path.write_text(json.dumps({**content, **values}))

    return changed


@pytest.mark.parametrize(
    "spoil",
    [
        change(captions=[["a dog"]] * 3),
        change(captions=[["a dog"]] * 10**5),
        change(captions=[["a dog"]] * PHOTOS),
        change(captions=[[1, 2]] * PHOTOS),
        change(captions=[[]] * PHOTOS),
        change(captions={"a": "dog"}),
        change(numbers="0" * 64),
        change(annotations={"depth": DEPTH}),
        lambda folder: (folder / CAPTIONS_FILE).write_text("[1]"),
        lambda folder: (folder / CAPTIONS_FILE).write_text("[" * 9999),
        lambda folder: (folder / NUMBERS_FILE).write_bytes(b"1"),
        lambda folder: (folder / NUMBERS_FILE).unlink(),
    ],
)
def test_what_is_damaged_is_refused(reranker, tmp_path, spoil):
    reranker.save(str(tmp_path), METADATA)
    spoil(tmp_path)
    with pytest.raises(UserError):
        ConsensusReranker.load(str(tmp_path), METADATA)


@pytest.mark.parametrize("name", ["descriptors", "weights"])
def test_what_is_no_number_is_refused(reranker, tmp_path, name):
    bad = ConsensusReranker(
        reranker.descriptors, reranker.captions, reranker.weights
    )
    setattr(bad, name, np.full_like(getattr(reranker, name), np.nan))
    bad.save(str(tmp_path), METADATA)
    with pytest.raises(UserError, match="do not belong"):
        ConsensusReranker.load(str(tmp_path), METADATA)


def test_of_many_photos_the_first_are_taken(texts, monkeypatch):
    monkeypatch.setattr(reranking, "MAX_PHOTOS", 50)
    annotations = annotations_of(range(64), 2)  # Padded, as batches are.
    batches = np.split(annotations, 4)
    made = ConsensusReranker.from_batches(iter(batches), texts)
    assert made.captions == tuple(map(tuple, texts[:50]))
    np.testing.assert_array_equal(
        made.descriptors, photo_descriptors(annotations[:50]).astype(np.float16)
    )


def test_the_decoding_that_proposes_captions():
    for wrong, message in (
        ({"method": "greedy", "consensus": 5}, "consensus.*greedy"),
        ({"consensus": -1}, "consensus"),
        ({"beam_width": 5, "consensus": 8, "num_captions": 9}, "num_captions"),
    ):
        with pytest.raises(UserError, match=message):
            Decoding(**wrong)
    eight = {"beam_width": 8, "num_captions": 8, "length_penalty": 1.0}
    beam = Decoding(beam_width=5, consensus=8, num_captions=3)
    assert beam.proposing == Decoding(**eight)
    sampled = Decoding("sample", consensus=8, length_penalty=0.3)
    assert sampled.proposing == Decoding("sample", **eight)
    # Another method is without it, unless it is asked for.
    assert beam.replace(beam_width=3).consensus == 8
    assert beam.replace(method="beam").consensus == 8
    for method in ("greedy", "sample"):
        assert Decoding(consensus=8).replace(method=method) == Decoding(method)
    asked = Decoding(consensus=8).replace(method="sample", consensus=6)
    assert asked == Decoding("sample", consensus=6)
    with pytest.raises(UserError, match="consensus.*greedy"):
        beam.replace(method="greedy", consensus=6)


DECODING = Decoding(method="sample", consensus=6)


@pytest.fixture(scope="module")
def run(trained, tmp_path_factory):
    """A small run on scenes, with the photos that captions are chosen by."""
    from show_attend_tell.configs.run_config import RunConfig
    from show_attend_tell.evaluation.score_files import write_evaluation
    from show_attend_tell.evaluation.split_evaluation import evaluate_run

    folder = str(tmp_path_factory.mktemp("consensus") / "run")
    shutil.copytree(trained, folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", command_environment()["PATH"])
        config = RunConfig.load(folder)
        evaluated = evaluate_run(config, folder, ["validation"], DECODING)
    write_evaluation(folder, evaluated, DECODING)
    return pathlib.Path(folder)


@pytest.mark.proof
def test_a_run_chooses_among_its_captions(run):
    from pipelines.cache.extraction import AnnotationCache
    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

    scores = json.loads((run / "scores.json").read_text())
    assert scores["decoding"]["consensus"] == 6
    captioner = WorkdirCaptioner.load(str(run))
    cache = AnnotationCache.open(str(run / "annotations"))
    entries = json.loads((run / "captions_validation.json").read_text())
    chosen = {e["image_id"]: e["caption"] for e in entries}
    annotations = cache.read([cache.position(name) for name in chosen])
    captions = captioner.caption_generator.captions(
        annotations, Decoding(method="sample", num_captions=6)
    )
    reranker = ConsensusReranker.load(str(run), cache.metadata)
    predicted = reranker.predict_words(annotations)
    moved = 0
    for text, best, words, photos in zip(
        chosen.values(),
        captions,
        predicted,
        reranker.nearest(predicted),
        strict=True,
    ):
        ended = [c for c in (best, *best.alternatives) if c.finished]
        each = [c.words for c in ended]
        values = reranker.agreement(each, photos) + reranker.match(each, words)
        values = [
            value + 0.4 * c.log_probability / (len(c.words) + 1)
            for value, c in zip(values, ended, strict=True)
        ]
        assert text == ended[int(np.argmax(values))].text
        moved += text != best.text
    assert moved  # Or nothing was chosen.


@pytest.mark.proof
def test_a_photo_is_captioned_so(run, tmp_path):
    from PIL import Image

    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

    captioner = WorkdirCaptioner.load(str(run))
    photo = Image.effect_noise((60, 80), 90).convert("RGB")
    one = captioner.caption(photo, consensus=6, num_captions=3)
    all_six = captioner.caption(
        photo, beam_width=6, num_captions=6, length_penalty=1.0
    )
    assert len(one.alternatives) == 2
    proposed = {c.text for c in (all_six, *all_six.alternatives)}
    ranked = [one, *one.alternatives]
    assert {c.text for c in ranked} <= proposed
    key = [(not c.finished, -c.score) for c in ranked]
    assert key == sorted(key)
    assert one.attention.shape[0] == len(one.words)


def test_a_run_without_photos_names_the_command_that_makes_them(trained):
    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

    captioner = WorkdirCaptioner.load(str(trained))
    photo = np.zeros((60, 80, 3), np.uint8)
    with pytest.raises(UserError, match="evaluate .*--consensus=20"):
        captioner.caption(photo, consensus=6)


def test_photos_of_training_are_not_scored_by_themselves(trained):
    from show_attend_tell.configs.run_config import RunConfig
    from show_attend_tell.evaluation.split_evaluation import evaluate_run

    with pytest.raises(UserError, match="--consensus=0 with --split=train"):
        config = RunConfig.load(trained)
        evaluate_run(config, str(trained), ["train"], DECODING)


@pytest.mark.proof
def test_an_export_goes_without(run, tmp_path):
    from show_attend_tell.exporting.saved_model import export_saved_model
    from show_attend_tell.inference.workdir_captioner import WorkdirCaptioner

    captioner = WorkdirCaptioner.load(str(run))
    decoding = dataclasses.replace(captioner.decoding, consensus=6)
    with pytest.raises(UserError, match="no photos of training"):
        export_saved_model(captioner, str(tmp_path / "scenes"), decoding)
    assert not list(pathlib.Path(tmp_path).rglob("*.pb"))
