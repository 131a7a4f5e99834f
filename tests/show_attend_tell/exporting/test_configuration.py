"""The files that a server is started with fit what `export` writes."""

import re

import pytest

from show_attend_tell.exporting.saved_model import BATCH_SIZES
from tests.conftest import ROOT

FOLDER = ROOT / "savedmodels"


def test_models_config_is_the_servers_proto():
    api = pytest.importorskip(
        "tensorflow_serving.config.model_server_config_pb2"
    )
    from google.protobuf import text_format

    text = (FOLDER / "models.config").read_text(encoding="utf-8")
    config = text_format.Parse(text, api.ModelServerConfig())
    (model,) = config.model_config_list.config
    assert model.name == "scenes"
    assert model.base_path == f"/models/{model.name}"
    assert model.model_version_policy.latest.num_versions == 2


def test_batches_are_those_that_are_warmed_up():
    # The proto of this file is in no package.
    text = (FOLDER / "batching.config").read_text(encoding="utf-8")
    allowed = re.findall(r"^allowed_batch_sizes: (\d+)$", text, re.MULTILINE)
    assert tuple(map(int, allowed)) == BATCH_SIZES
    largest = re.search(r"^max_batch_size { value: (\d+) }$", text, re.M)
    assert int(largest[1]) == BATCH_SIZES[-1]
