"""Tensor operations on the state of decoding loops, shared by all methods."""

from keras import ops, tree


def begin(captioner, annotations, width: int):
    """Starts W captions of each image; returns as `Captioner.begin`.

    The state is `(N, W, U)`; annotations and keys are shared by the W.
    """
    state, annotations, keys = captioner.begin(annotations)
    state = tree.map_structure(
        lambda x: ops.repeat(ops.expand_dims(x, 1), width, axis=1), state
    )
    return state, annotations, keys


def gather(values, index, axes: int = 1):
    """Takes rows by their index, each within its group.

    Of `values` `(..., W, *row)`, with `axes` axes before W, and `index`
    `(..., K)` in [0, W). Returns `(..., K, *row)`.
    """
    shape = tuple(ops.shape(values))
    groups, width, row = shape[:axes], shape[axes], shape[axes + 1 :]
    count = index.shape[axes]
    index = ops.reshape(ops.cast(index, "int32"), (-1, count))  # (groups, K)
    start = ops.arange(ops.shape(index)[0], dtype="int32") * width
    rows = ops.take(
        ops.reshape(values, (-1, *row)),  # (groups x W, *row)
        index + ops.expand_dims(start, 1),
        axis=0,
    )
    return ops.reshape(rows, (*groups, count, *row))


def scatter_update(buffer, value, axis: int, index):
    """Returns the buffer with a value at one index of an axis.

    Not `ops.slice_update`, which is an operation of XLA's, and servers may
    have no XLA.
    """
    after = [1] * (len(buffer.shape) - axis - 1)
    here = ops.equal(ops.arange(buffer.shape[axis]), index)
    value = ops.expand_dims(ops.cast(value, buffer.dtype), axis)
    return ops.where(ops.reshape(here, (-1, *after)), value, buffer)
