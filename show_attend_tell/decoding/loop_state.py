"""What every way to decode starts with."""

from keras import ops, tree


def begin(captioner, annotations, width: int):
    """Starts `width` hypotheses of each image.

    Args:
        captioner: A `Captioner` or an `Ensemble`.
        annotations: `(N, L, D)`, as the encoder gave them.
        width: W.

    Returns:
        The state, `(N, W, U)` each; and the scaled annotations `(N, L, D)`
        and keys `(N, L, A)`, which hypotheses share.
    """
    state, annotations, keys = captioner.begin(annotations)
    state = tree.map_structure(
        lambda x: ops.repeat(ops.expand_dims(x, 1), width, axis=1), state
    )
    return state, annotations, keys


def scatter_update(buffer, value, axis: int, place):
    """Returns the buffer with a value at one place of an axis.

    Not `ops.slice_update`, which is an operation of XLA's, and servers may
    have no XLA.
    """
    after = [1] * (len(buffer.shape) - axis - 1)
    here = ops.equal(ops.arange(buffer.shape[axis]), place)
    value = ops.expand_dims(ops.cast(value, buffer.dtype), axis)
    return ops.where(ops.reshape(here, (-1, *after)), value, buffer)
