"""Graphs that do more than a captioner are not loaded."""

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from pipelines.errors import UserError
from show_attend_tell.inference.saved_model_operations import (
    refused_operations,
)
from show_attend_tell.inference.saved_model_session import SavedModelSession


def read_file(name):
    return tf.io.read_file(name)


def print_to_a_file(name):
    tf.print(name, output_stream="file:///tmp/printed")
    return name


def inside_a_loop(name):
    return tf.while_loop(
        lambda name: tf.strings.length(name) < 9,
        lambda name: [name + tf.io.matching_files(name)[0]],
        [name],
    )


def in_a_data_set(name):
    return tf.data.TextLineDataset(name).get_single_element()


def cached_in_a_file(name):
    data = tf.data.Dataset.from_tensors(name).cache("/tmp/cached")
    return data.get_single_element()


def call_python(name):
    return tf.numpy_function(lambda name: name, [name], tf.string)


def save(name):
    tf.raw_ops.SaveV2(
        prefix=name,
        tensor_names=["a"],
        shape_and_slices=[""],
        tensors=[tf.zeros(())],
    )
    return name


def memory_region(name):
    return tf.raw_ops.ImmutableConst(
        dtype=tf.uint8, shape=(9,), memory_region_name="/etc/passwd"
    )


def write(folder, model):
    (folder / "saved_model.pb").write_bytes(model.SerializeToString())
    return str(folder)


@pytest.mark.parametrize(
    ("function", "operation"),
    [
        (read_file, "ReadFile"),
        (print_to_a_file, "PrintV2"),
        (inside_a_loop, "MatchingFiles"),
        (in_a_data_set, "TextLineDataset"),
        (cached_in_a_file, "CacheDatasetV2"),
        (call_python, "PyFunc"),
        (save, "SaveV2"),
        (memory_region, "ImmutableConst"),
    ],
)
def test_what_reaches_outside_is_refused(tmp_path, function, operation):
    takes = tf.TensorSpec((), tf.string)
    graph = tf.function(function).get_concrete_function(takes).graph
    model = saved_model_pb2.SavedModel()
    model.meta_graphs.add().graph_def.CopyFrom(graph.as_graph_def())
    path = write(tmp_path, model)
    assert operation in refused_operations(path)
    with pytest.raises(UserError, match=f"which has .*{operation}.* not load"):
        SavedModelSession(path)


@pytest.fixture
def model(exported):
    data = (exported / "saved_model.pb").read_bytes()
    return saved_model_pb2.SavedModel.FromString(data)


def test_an_export_has_nothing_else(model, tmp_path):
    assert refused_operations(write(tmp_path, model)) == []


def test_what_saves_and_restores_does_nothing_else(model, tmp_path):
    (graph,) = model.meta_graphs
    names = graph.saver_def.save_tensor_name.partition(":")[0]
    (saver,) = (node for node in graph.graph_def.node if node.name == names)
    before = model.SerializeToString()

    def refused():
        answer = refused_operations(write(tmp_path, model))
        model.ParseFromString(before)
        return answer

    # Loaders would save in place of restoring.
    graph.saver_def.restore_op_name = saver.name
    assert "SaveV2" in refused()
    # Answers would save first.
    (graph,) = model.meta_graphs
    node = graph.graph_def.node.add(name="more", op="StatefulPartitionedCall")
    node.attr["f"].func.name = saver.attr["f"].func.name
    assert refused() == ["a call that saves or restores"]
    (graph,) = model.meta_graphs
    graph.graph_def.node.add(name="more", op="NoOp", input=[f"^{saver.name}"])
    assert refused() == ["what depends on saving or restoring"]
    (graph,) = model.meta_graphs
    start = graph.signature_def["__saved_model_init_op"].outputs
    start["__saved_model_init_op"].name = saver.name
    assert refused() == ["what saves as it is loaded or answers"]


def test_damaged_files_are_refused(model, tmp_path):
    good = model.SerializeToString()
    dice = np.random.default_rng(0)
    for _ in range(50):
        bad = bytearray(good)
        for place in dice.integers(0, len(good), 4):
            bad[place] ^= 1 << dice.integers(8)
        (tmp_path / "saved_model.pb").write_bytes(bad)
        try:
            refused_operations(str(tmp_path))
        except UserError as error:
            assert "damaged" in str(error)
    with open(tmp_path / "saved_model.pb", "wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match="at most"):
        refused_operations(str(tmp_path))
