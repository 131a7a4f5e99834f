"""TensorFlow's C++ loader, without a line of its Python.

`TF_LoadSessionFromSavedModel` of the C API calls the loader that TensorFlow
Serving calls.
"""

import ctypes
import math
import pathlib

import numpy as np
import tensorflow as tf

_STRING = 24  # Bytes of a TF_TString.
_STRINGS = tf.string.as_datatype_enum

_lib = ctypes.CDLL(
    str(pathlib.Path(tf.__file__).parent / "libtensorflow_cc.so.2")
)
for _name in (
    "NewStatus", "NewGraph", "NewSessionOptions", "Message", "AllocateTensor",
    "TensorData", "LoadSessionFromSavedModel", "GraphOperationByName",
    "StringGetDataPointer",
):  # fmt: skip
    getattr(_lib, f"TF_{_name}").restype = ctypes.c_void_p
_lib.TF_Dim.restype = ctypes.c_int64
_lib.TF_StringGetSize.restype = ctypes.c_size_t


class _Output(ctypes.Structure):
    _fields_ = [("operation", ctypes.c_void_p), ("index", ctypes.c_int)]


class CSession:
    """Loads a SavedModel and runs it, or raises `RuntimeError`."""

    def __init__(self, path):
        self.status = ctypes.c_void_p(_lib.TF_NewStatus())
        self.graph = ctypes.c_void_p(_lib.TF_NewGraph())
        tags = (ctypes.c_char_p * 1)(b"serve")
        self.session = ctypes.c_void_p(
            _lib.TF_LoadSessionFromSavedModel(
                ctypes.c_void_p(_lib.TF_NewSessionOptions()),
                None,
                str(path).encode(),
                tags,
                1,
                self.graph,
                None,
                self.status,
            )  # fmt: skip
        )
        self._check()

    def run(self, inputs, outputs):
        """Feeds arrays and fetches tensors, both by the tensors' names."""
        fed = [_tensor(np.asarray(value)) for value in inputs.values()]
        fetched = (ctypes.c_void_p * len(outputs))()
        _lib.TF_SessionRun(
            self.session, None,
            self._outputs(inputs), (ctypes.c_void_p * len(fed))(*fed),
            len(fed), self._outputs(outputs), fetched, len(outputs),
            None, 0, None, self.status,
        )  # fmt: skip
        self._check()
        return [_array(ctypes.c_void_p(tensor)) for tensor in fetched]

    def _outputs(self, names):
        ports = []
        for name in names:
            operation, _, index = name.partition(":")
            address = _lib.TF_GraphOperationByName(
                self.graph, operation.encode()
            )
            ports.append(_Output(address, int(index)))
        return (_Output * len(ports))(*ports)

    def _check(self):
        if _lib.TF_GetCode(self.status):
            message = ctypes.c_char_p(_lib.TF_Message(self.status)).value
            raise RuntimeError(message.decode())


def _tensor(array):
    strings = array.dtype == object
    kind = _STRINGS if strings else tf.as_dtype(array.dtype).as_datatype_enum
    size = array.size * _STRING if strings else array.nbytes
    shape = (ctypes.c_int64 * array.ndim)(*array.shape)
    tensor = _lib.TF_AllocateTensor(
        kind, shape, array.ndim, ctypes.c_size_t(size)
    )
    address = _lib.TF_TensorData(ctypes.c_void_p(tensor))
    if not strings:
        ctypes.memmove(address, np.ascontiguousarray(array).ctypes.data, size)
        return tensor
    for n, value in enumerate(array.ravel().tolist()):
        string = ctypes.c_void_p(address + n * _STRING)
        _lib.TF_StringInit(string)
        _lib.TF_StringCopy(string, value, ctypes.c_size_t(len(value)))
    return tensor


def _array(tensor):
    rank, kind = _lib.TF_NumDims(tensor), _lib.TF_TensorType(tensor)
    shape = [_lib.TF_Dim(tensor, axis) for axis in range(rank)]
    address = _lib.TF_TensorData(tensor)
    if kind == _STRINGS:
        strings = []
        for n in range(math.prod(shape)):
            string = ctypes.c_void_p(address + n * _STRING)
            strings.append(
                ctypes.string_at(
                    _lib.TF_StringGetDataPointer(string),
                    _lib.TF_StringGetSize(string),
                )
            )
        return np.array(strings, object).reshape(shape)
    dtype = np.dtype(tf.as_dtype(kind).as_numpy_dtype)
    data = ctypes.string_at(address, math.prod(shape) * dtype.itemsize)
    return np.frombuffer(data, dtype).reshape(shape)
