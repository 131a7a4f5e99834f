"""Attention of a run, of its exports and in files, against the same boxes."""

import json

import numpy as np
import pytest
from PIL import Image

from pipelines.boxes.scene_boxes import SceneBoxes
from pipelines.captions import CaptionedImage, Source
from pipelines.sources.scenes import load_scenes
from pipelines.words import join_words, words_of
from show_attend_tell.evaluation.exported_evaluation import evaluate_exported
from show_attend_tell.inference.tflite_captioner import TFLiteCaptioner
from tests.show_attend_tell.conftest import (
    SETTINGS,
    call_command,
    command_environment,
)
from tests.show_attend_tell.exporting import small

_XML = (
    "<annotation><size><width>1000</width><height>1000</height></size>"
    "{}</annotation>"
)
_OBJECT = (
    "<object><name>{}</name><bndbox><xmin>{}</xmin><ymin>{}</ymin>"
    "<xmax>{}</xmax><ymax>{}</ymax></bndbox></object>"
)


def write_entities(folder, images, boxes):
    """Writes what captions name in the form of Flickr30k Entities."""
    for name in ("Annotations", "Sentences"):
        (folder / name).mkdir(parents=True)
    for image in images:
        objects, sentences = [], []
        for text in image.captions:
            words = words_of(text)
            for phrase in boxes.phrases(image.id, words):
                entity, at = len(objects) + 1, phrase.start
                left, top, right, bottom = (
                    round(1000 * edge) for edge in phrase.boxes[0]
                )
                corners = left + 1, top + 1, right, bottom
                objects.append(_OBJECT.format(entity, *corners))
                words[at] = f"[/EN#{entity}/{phrase.kind} {words[at]}]"
            sentences.append(" ".join(words))
        # What a model of little training says.
        objects.append(_OBJECT.format(999, 101, 1, 600, 1000))
        sentences.append("[/EN#999/other a] is there")
        stem = image.id.removesuffix(".png")
        xml = folder / "Annotations" / f"{stem}.xml"
        xml.write_text(_XML.format("".join(objects)))
        (folder / "Sentences" / f"{stem}.txt").write_text("\n".join(sentences))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Scenes as photos in a folder, and their boxes; flags that name them."""
    folder = tmp_path_factory.mktemp("data")
    images = load_scenes(0, 0, 6, 0).images
    records = []
    for image in images:
        (folder / f"{image.id}.png").write_bytes(image.read())
        records.append(
            {
                "file": f"{image.id}.png",
                "captions": image.captions,
                "split": "test",
            }
        )
    (folder / "captions.json").write_text(json.dumps(records))
    write_entities(folder / "entities", images, SceneBoxes())
    return (
        "--dataset=folder",
        f"--data_dir={folder}",
        "--split=test",
        f"--boxes={folder / 'entities'}",
    )


def evaluate(*arguments):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PATH", command_environment()["PATH"])
        done = call_command("evaluate", *arguments)
    assert done.returncode == 0, done.stderr
    return done.stdout


def grounding(folder):
    figures = json.loads((folder / "scores.json").read_text())["grounding"]
    return {k: v for k, v in figures.items() if type(v) in (int, float)}


@pytest.fixture(scope="module")
def of_run(trained, data, tmp_path_factory):
    """What the training's captioner scores, with the settings of its export."""
    folder = tmp_path_factory.mktemp("of_run")
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    evaluate(f"--workdir={trained}", *data, *settings, f"--output={folder}")
    return folder


def test_a_saved_model_scores_what_its_run_does(
    exported, of_run, data, tmp_path
):
    output = evaluate(
        f"--model={exported}",
        *data,
        f"--output={tmp_path}",
        f"--report={tmp_path / 'report'}",
        f"--compare={of_run / 'captions_test.json'}",
    )
    expected = grounding(of_run)
    assert expected["count"] >= 5 and expected["F1_all"] is not None
    assert grounding(tmp_path) == pytest.approx(expected, abs=3e-4)
    (mass,) = (
        line.split()
        for line in output.splitlines()
        if line.startswith("attention_mass ")
    )
    # That of the file is of bytes.
    assert float(mass[-4]) == pytest.approx(0, abs=0.003)
    assert float(mass[5]) == pytest.approx(
        expected["attention_mass"], abs=0.003
    )
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Attention mass" in page


def test_a_file_of_captions_has_their_attention(of_run, data, tmp_path):
    evaluate(
        f"--predictions={of_run / 'captions_test.json'}",
        *data,
        f"--output={tmp_path}",
    )
    assert grounding(tmp_path) == pytest.approx(grounding(of_run), abs=0.003)
    before, after = (
        json.loads((folder / "captions_test.json").read_text())
        for folder in (of_run, tmp_path)
    )
    assert [e["caption"] for e in after] == [e["caption"] for e in before]


def test_references_are_compared(trained, of_run, data, tmp_path):
    file = of_run / "captions_test.json"
    settings = [f"--{name}={value}" for name, value in SETTINGS.items()]
    arguments = f"--workdir={trained}", *data, *settings
    output = evaluate(*arguments, f"--output={tmp_path}", f"--compare={file}")
    of_phrases = output.rpartition("phrases of references\n")[2]
    rows = {
        line.split()[0]: line.split()[1:]
        for line in of_phrases.splitlines()
        if line[:1].isalpha()
    }
    assert len(rows) == 6
    for name in ("pointing_accuracy", "attention_mass"):
        assert rows[name][0] == rows[name][4]
        assert rows[name][5:] == ["+0.0000", "+0.0000", "to", "+0.0000"]
    entries = json.loads(file.read_text())
    entries[0]["reference_attention"] = [1, 2]
    other = tmp_path / "other.json"
    other.write_text(json.dumps(entries))
    done = call_command("evaluate", *arguments, f"--compare={other}")
    assert done.returncode == 1 and "Expected 7 numbers" in done.stderr


def test_references_of_a_run_have_intervals(of_run):
    figures = json.loads((of_run / "scores.json").read_text())["grounding"]
    references = figures["references"]
    assert references["count"] > 60
    low, high = references["intervals"]["attention_mass"]
    assert low < references["attention_mass"] < high


def test_a_device_file_reads_references(device_file, tmp_path):
    """Its attention is that of Keras, step by step."""
    captions = ("a ball on grass", "café nowhere a", "")
    images = []
    for n, square in enumerate(small.squares(2)):
        path = tmp_path / f"photo{n}.png"
        Image.fromarray(square).save(path)
        images.append(
            CaptionedImage(path.name, "test", captions[: 2 + n], str(path))
        )
    device = TFLiteCaptioner(device_file)
    keras = small.captioner()
    model = keras.caption_generator.captioner
    vocabulary = keras.caption_generator.vocabulary
    for image in images:
        square = keras.prepare(image.read())
        annotations = keras.encoder.model.predict_on_batch(square[None])
        words = [words_of(text) for text in image.captions]
        maps = device.attention_of(device.prepare(image.read()), words)
        for text, actual in zip(words, maps, strict=True):
            tokens = vocabulary.encode(join_words(text))[None, None]
            inputs = {"annotations": annotations, "tokens": tokens}
            expected = np.asarray(model(inputs)["attention"])[0, 0]
            assert actual.shape == (len(text), *keras.caption_generator.grid)
            np.testing.assert_allclose(
                actual.reshape(len(text), small.L),
                expected[: len(text)],
                atol=1e-5,
            )
    boxes = SceneBoxes()
    boxes.phrases = lambda id, words: ()
    write_entities(tmp_path / "boxes", images, boxes)
    for n in range(len(images)):
        sentences = tmp_path / "boxes" / "Sentences" / f"photo{n}.txt"
        sentences.write_text("[/EN#1/other a ball] on grass")
        annotations = tmp_path / "boxes" / "Annotations" / f"photo{n}.xml"
        annotations.write_text(_XML.format(_OBJECT.format(1, 1, 1, 500, 1000)))
    (evaluation,) = evaluate_exported(
        device,
        Source("folder", tuple(images)),
        ["test"],
        str(tmp_path / "boxes"),
    )
    measured = evaluation.figures["grounding"]["references"]
    assert measured["count"] == 2
    assert measured["attention_mass_chance"] == pytest.approx(0.5)


def test_mistakes(trained, data, of_run, tmp_path):
    plain = tmp_path / "plain.json"
    entries = json.loads((of_run / "captions_test.json").read_text())
    for entry in entries:
        del entry["attention"]
    plain.write_text(json.dumps(entries))
    entries[0]["attention"] = {"grid": [2, 2]}
    broken = tmp_path / "broken.json"
    broken.write_text(json.dumps(entries))
    for arguments, message in (
        ([f"--model={trained}"], "give it as --workdir"),
        ([f"--model={tmp_path / 'no.tflite'}"], "for devices"),
        ([f"--predictions={plain}"], 'Expected "attention" of each caption'),
        ([f"--predictions={broken}"], "for each of"),
    ):
        done = call_command("evaluate", *arguments, *data)
        assert done.returncode == 1
        assert message in done.stderr
        assert "Traceback" not in done.stderr
