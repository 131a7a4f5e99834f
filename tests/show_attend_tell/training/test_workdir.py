"""A run is what it wrote: changed files, folders of others, refused starts."""

import json
import shutil
import subprocess

import pytest

from pipelines import checksums
from pipelines.errors import UserError
from show_attend_tell.configs.run_config import RunConfig
from show_attend_tell.evaluation.history import read_history
from show_attend_tell.inference.model_files import (
    load_captioner,
    load_ensemble,
    load_metadata,
)
from show_attend_tell.inference.reranking import ConsensusReranker
from show_attend_tell.inference.workdir_captioner import encoder_of
from show_attend_tell.training import run
from show_attend_tell.training.warm_start import check_start
from show_attend_tell.training.workdir import check_workdir, claim
from tests.show_attend_tell.conftest import TINY, call_command

SIMILAR = ("similar_photos.json", "similar_photos.float16")


@pytest.fixture
def copy(trained, tmp_path):
    return shutil.copytree(
        trained, tmp_path / "run", ignore=shutil.ignore_patterns("annotations")
    )


def digit_changed(data):
    """The same with a digit raised, or a letter, as a slip of the hand."""
    digits = (n for n, byte in enumerate(data) if 48 <= byte < 57)
    place = next(digits, len(data) // 2)
    return data[:place] + bytes([data[place] + 1]) + data[place + 1 :]


def reads_best(folder):
    load_captioner(folder)


def reads_metadata(folder):
    load_metadata(folder)


def reads_history(folder):
    read_history(folder, "BLEU-4")


def reads_similar_photos(folder):
    ConsensusReranker.load(folder, load_metadata(folder))


READERS = {
    "config.json": RunConfig.load,
    "vocabulary.txt": reads_best,
    "best.keras": reads_best,
    "encoder.json": reads_metadata,
    "history.json": reads_history,
    "last.keras": None,  # Only the training reads them.
    "versions.json": None,
    SIMILAR[0]: reads_similar_photos,
    SIMILAR[1]: reads_similar_photos,
}


def test_a_changed_file_is_named_wherever_it_is_read(copy):
    config = RunConfig.load(str(copy))
    for name in SIMILAR:
        checksums.write_bytes(copy, name, b'{"0": 0}')
    check_workdir(str(copy), config)
    assert {*checksums.read(copy, "")} == {*READERS}
    for name, reader in READERS.items():
        good = (copy / name).read_bytes()
        (copy / name).write_bytes(digit_changed(good))
        readers = [lambda folder: check_workdir(folder, config)]
        for read in filter(None, [*readers, reader]):
            with pytest.raises(UserError) as error:
                read(str(copy))
            message = str(error.value)
            assert str(copy / name) in message
            assert "SHA256SUMS lists" in message and "sha256sum " in message
        (copy / name).write_bytes(good)


def test_a_model_that_joins_in_and_one_to_start_from(copy, trained):
    with open(copy / "encoder.json", "a") as file:
        file.write("\n")
    member = [str(copy / "best.keras")]
    with pytest.raises(UserError, match="encoder.json"):
        load_ensemble(str(trained), member)
    with open(copy / "best.keras", "ab") as file:
        file.write(b"\0")
    with pytest.raises(UserError, match="best.keras"):
        load_ensemble(str(trained), member)
    (copy / "config.json").write_text("{}")
    config = RunConfig().replace(warm_start=str(copy))
    with pytest.raises(UserError, match="config.json"):
        check_start(config, "new")


def test_commands_say_it_in_one_line(copy):
    (copy / "encoder.json").write_bytes(
        (copy / "encoder.json").read_bytes().replace(b"squash", b"crop")
    )
    for command, *arguments in (
        ("caption", "photo.jpg"),
        ("evaluate",),
        ("export", f"--output={copy}/out"),
        ("train", "--recipe=scenes"),
    ):
        done = call_command(command, f"--workdir={copy}", *arguments)
        assert done.returncode == 1
        assert "encoder.json" in done.stderr, command
        assert len(done.stderr.strip().splitlines()) == 1, done.stderr


@pytest.mark.parametrize("name", ["history.json", "best.keras"])
def test_a_training_goes_on_with_all_that_it_has_chosen(
    trained, tmp_path, name
):
    folder = shutil.copytree(trained, tmp_path / "run")
    (folder / name).unlink()
    done = call_command("train", f"--workdir={folder}", *TINY)
    assert done.returncode == 1
    assert f"Expected {folder / name} of the 2 epochs" in done.stderr
    assert not (folder / name).exists()


def test_a_run_of_an_earlier_version_is_listed_by_the_command(copy):
    config = RunConfig.load(str(copy))
    (copy / "SHA256SUMS").unlink()
    for read in (RunConfig.load, lambda folder: check_workdir(folder, config)):
        with pytest.raises(UserError, match="earlier versions") as error:
            read(str(copy))
    command = str(error.value)[str(error.value).index("(cd ") :]
    subprocess.run(command, shell=True, check=True)
    check_workdir(str(copy), config)


@pytest.mark.parametrize(
    "history",
    [
        {},
        [3],
        [{"BLEU-4": 0.1}],
        [{"epoch": "1", "BLEU-4": 0.1}],
        [{"epoch": 1}],
        [{"epoch": 1, "BLEU-4": [0.1]}],
        [{"epoch": 2, "BLEU-4": 0.1}, {"epoch": 1, "BLEU-4": 0.1}],
    ],
    ids=str,
)
def test_a_history_that_is_none(tmp_path, history):
    assert read_history(str(tmp_path), "BLEU-4") == []
    checksums.write_json(tmp_path, "history.json", history)
    with pytest.raises(UserError, match="epoch after epoch, in .*history.json"):
        read_history(str(tmp_path), "BLEU-4")


def test_metadata_that_is_none(copy):
    for values in ([], {}, {"grid": 3}):
        checksums.write_json(copy, "encoder.json", values)
        with pytest.raises(UserError, match="encoder.json: Expected the desc"):
            load_metadata(str(copy))


def test_metadata_of_another_network(copy):
    values = load_metadata(str(copy)).to_dict()
    checksums.write_json(copy, "encoder.json", {**values, "grid": [7, 28]})
    with pytest.raises(UserError, match=r"encoder.json to .*\(14, 14\), found"):
        encoder_of(load_metadata(str(copy)), "default", str(copy))


def test_a_refused_start_locks_nothing(tmp_path, monkeypatch):
    config, workdir = RunConfig(), str(tmp_path / "run")

    def refuse(config, workdir):
        checksums.write_bytes(workdir, "vocabulary.txt", b"words")
        raise UserError("no such photos")

    monkeypatch.setattr(run, "prepare_data", refuse)
    with pytest.raises(UserError, match="no such photos"):
        run.train(config, workdir)
    assert not (tmp_path / "run" / "config.json").exists()
    # Refused after that, or killed before the first checkpoint.
    claim(workdir, config)
    other = config.replace(units=32)
    check_workdir(workdir, other)
    claim(workdir, other)
    assert RunConfig.load(workdir) == other
    versions = json.loads((tmp_path / "run" / "versions.json").read_text())
    assert "tensorflow" in versions
    # Trained: what it is stays.
    checksums.write_bytes(workdir, "last.keras", b"weights")
    with pytest.raises(UserError, match=r"--units=32 \(received 512\)"):
        check_workdir(workdir, config)
    claim(workdir, config)
    assert RunConfig.load(workdir) == other


@pytest.mark.parametrize(
    "name",
    ["vocabulary.txt", "my.keras", "scores.json", "pictures", "SHA256SUMS"],
)
def test_a_folder_of_somebody_else_stays(tmp_path, name):
    (tmp_path / "photo.jpg").write_bytes(b"photo")
    check_workdir(str(tmp_path), RunConfig())
    (tmp_path / name).write_bytes(b"0" * 64 + b"  photo.jpg\n")
    with pytest.raises(UserError, match=f"{name} is not of a run"):
        run.train(RunConfig(), str(tmp_path))
    assert (tmp_path / name).read_bytes().endswith(b"photo.jpg\n")
