"""Which operations the graph of a captioner may have.

A SavedModel is a program, and TensorFlow has operations that read and write
files, open connections and call Python. A captioner needs none of them: what
has one is not loaded here. A server does not ask.
"""

import os
import re
from collections.abc import Iterator

from google.protobuf.message import DecodeError
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow.python.framework import op_def_registry

from pipelines.errors import UserError
from pipelines.files import check_size

FILE_NAME = "saved_model.pb"

_MAX_BYTES = 2**28  # A graph of VGG has one million.

# Of the operations that have a state or an effect, these have no other than
# on variables and tables of the model itself, or on the order of others.
_STATEFUL = set(
    "StatefulPartitionedCall While If Case Assert VarHandleOp ReadVariableOp "
    "AssignVariableOp VarIsInitializedOp DisableCopyOnRead ResourceGather "
    "ResourceGatherNd HashTableV2 LookupTableFindV2 LookupTableImportV2 "
    "TensorDataset TensorSliceDataset DatasetToSingleElement".split()
)
# And these have an effect all the same, on files, connections or devices.
_OUTSIDE = re.compile(
    "File|Snapshot|^Cache|^RegisterDataset|DatasetFromGraph|Debug|Proto|"
    "VocabRemapping|ImmutableConst|^Reader|PyFunc|TPU|Infeed"
)
# A loader runs the one that restores variables, with the model's own file,
# and nobody the other.
_RESTORING = {"RestoreV2"}
_SAVING = {"SaveV2", "MergeV2Checkpoints", "ShardedFilename"}
_ANY = _RESTORING | _SAVING


def refused_operations(path: str) -> list[str]:
    """Returns the operations of a SavedModel that a captioner may not have.

    Args:
        path: The folder of the SavedModel.

    Raises:
        UserError: Its file is damaged, or too large for a captioner's.
    """
    file = os.path.join(path, FILE_NAME)
    check_size(file, _MAX_BYTES)
    model = saved_model_pb2.SavedModel()
    try:
        with open(file, "rb") as opened:
            model.ParseFromString(opened.read())
    except DecodeError as error:
        raise UserError(
            f"The model {path} cannot be loaded: {FILE_NAME} is damaged. "
            "Export it again."
        ) from error
    refused = {op for graph in model.meta_graphs for op in _refused(graph)}
    return sorted(refused)


def _refused(graph) -> Iterator[str]:
    """Yields what one of a SavedModel's graphs may not have."""
    saver = graph.saver_def
    savers = {
        saver.save_tensor_name.partition(":")[0]: _SAVING,
        saver.restore_op_name: _RESTORING,
    }
    if _name(saver.save_tensor_name) in _fetched(graph):
        yield "what saves as it is loaded or answers"
    nodes, more = graph.graph_def.node, {}
    for node in nodes:
        if node.name in savers:
            for name in _functions(node):
                more[name] = more.get(name, _ANY) & savers[node.name]
    for node in nodes:
        if any(_name(source) in savers for source in node.input):
            yield "what depends on saving or restoring"
        if not _is_harmless(node.op):
            yield node.op
    functions = graph.graph_def.library.function
    bodies = [node for function in functions for node in function.node_def]
    for node in (*bodies, *(n for n in nodes if n.name not in savers)):
        if any(name in more for name in _functions(node)):
            yield "a call that saves or restores"
    for function in functions:
        for node in function.node_def:
            if node.op not in more.get(function.signature.name, ()):
                if not _is_harmless(node.op):
                    yield node.op


def _fetched(graph) -> Iterator[str]:
    """Yields the nodes that loaders and requests ask for."""
    for signature in graph.signature_def.values():
        for output in signature.outputs.values():
            yield _name(output.name)
    for collection in graph.collection_def.values():
        yield from map(_name, collection.node_list.value)


def _is_harmless(op: str) -> bool:
    definition = op_def_registry.get(op)
    if definition is None:  # Loaded from a library, or a function's name.
        return False
    if definition.is_stateful:
        return op in _STATEFUL
    return not _OUTSIDE.search(op)


def _name(source: str) -> str:
    """Returns the node that an input such as `^name` or `name:0` names."""
    return source.lstrip("^").partition(":")[0]


def _functions(node) -> Iterator[str]:
    """Yields the functions that a node calls."""
    for value in node.attr.values():
        for function in (value.func, *value.list.func):
            if function.name:
                yield function.name
