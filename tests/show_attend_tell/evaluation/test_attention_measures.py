"""Attention of reference captions, against the model word by word."""

import numpy as np
import pytest

from pipelines.boxes.coverage import coverage
from pipelines.boxes.scene_boxes import SceneBoxes
from pipelines.cache.annotation_cache import AnnotationCache
from pipelines.vocabulary import START
from pipelines.words import words_of
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.attention_measures import (
    evaluate_attention,
    measure_references,
)
from show_attend_tell.evaluation.split_data import load_splits
from show_attend_tell.inference.caption import Caption
from show_attend_tell.inference.model_files import load_ensemble


@pytest.fixture(scope="module")
def scenes(trained):
    images = load_splits(RunConfig.load(str(trained)))["validation"][:3]
    return images, AnnotationCache.open(trained / "annotations")


def test_references_are_read_by_teacher_forcing(trained, scenes):
    images, cache = scenes
    captioner, vocabulary = load_ensemble(str(trained), [])
    boxes, grid = SceneBoxes(), cache.metadata.grid
    masses = []
    for image in images:
        annotations = cache.read([cache.position(image.id)])
        for text in image.captions:
            state, scaled, keys = captioner.begin(annotations)
            words, previous, maps = words_of(text), START, []
            for word in vocabulary.ids_of(words):
                _, state, attention, _ = captioner.step(
                    np.array([previous]), state, scaled, keys
                )
                maps.append(np.reshape(attention, grid))
                previous = word
            masses += [
                (maps[phrase.start] * coverage(phrase.boxes, grid)).sum()
                for phrase in boxes.phrases(image.id, words)
            ]
    measured = measure_references(
        captioner, vocabulary, cache, images, boxes, grid
    ).figures
    assert measured["count"] == len(masses) > 20
    assert measured["attention_mass"] == pytest.approx(
        np.mean(masses), abs=1e-5
    )


def test_people_captions_with_attention_in_the_boxes(scenes):
    images, _ = scenes
    boxes, captions = SceneBoxes(), []
    for image in images:
        words = words_of(image.captions[0])
        maps = np.full((len(words), 28, 28), 1e-9)
        for phrase in boxes.phrases(image.id, words):
            maps[phrase.start] = coverage(phrase.boxes, (28, 28)) > 0.5
        maps /= maps.sum((1, 2), keepdims=True)
        captions.append(Caption(tuple(words), 0.0, 0.0, True, maps, None, ""))
    _, measured = evaluate_attention(captions, images, boxes)
    assert measured["attention_mass"] > 0.9
    # Groups have one box in the references, and apart another in attention;
    # what references name and these captions do not counts in one alone.
    assert measured["F1_loc"] > measured["F1_all"] > 0.1
