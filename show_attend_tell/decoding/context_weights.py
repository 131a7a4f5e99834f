"""Context weights in decoding: the attention, its peak, or a sample of it."""

from keras import ops

from show_attend_tell.configs.decoding import Decoding


class ContextWeights:
    """A function from attention to the weights that make the context.

    Call it once a step; `locations` then holds the location that was taken.
    Each member of an ensemble calls it, and `locations` holds the location on
    which all agreed, -1 where they did not. For the noise see `decode`.
    """

    def __init__(self, decoding: Decoding, noise, step):
        self._mode, self._noise, self._step = decoding.context_mode, noise, step
        self.locations = None

    def __call__(self, attention):
        """Takes and returns `(N, W, L)`."""
        if self._mode == "expected":
            self.locations = ops.full(
                ops.shape(attention)[:2], -1, dtype="int32"
            )
            return attention
        if self._mode == "peak":
            # The first result of top_k: LiteRT has no argmax of this kind.
            location = ops.cast(ops.top_k(attention, 1)[1], "int32")
        else:
            noise = noise_of_step(self._noise, self._step, 1)
            location = sample(attention, noise)
        before, self.locations = self.locations, location[..., 0]  # (N, W)
        if before is not None:
            same = ops.equal(before, self.locations)
            self.locations = ops.where(same, before, -1)
        every = ops.arange(attention.shape[-1], dtype="int32")
        return ops.cast(ops.equal(every, location), attention.dtype)


def noise_of_step(noise, step, kind: int):
    """Returns the noise of a step, `(N, W, 1)`: 0 of words, 1 of locations."""
    n, width = ops.shape(noise)[0], noise.shape[1]
    return ops.slice(noise, (0, 0, step, kind), (n, width, 1, 1))[..., 0]


def sample(probability, noise):
    """Samples by the inverse of the cumulative distribution.

    Of `probability` `(N, W, C)`, which need not add up to one, and uniform
    `noise` `(N, W, 1)` in [0, 1). Returns the index, `(N, W, 1)` int32.
    """
    reached = ops.cumsum(probability, axis=-1)
    # A little less than all, so that rounding never goes beyond the last.
    target = noise * (1 - 1e-6) * reached[..., -1:]
    passed = ops.cast(reached <= target, "int32")
    return ops.cast(ops.sum(passed, axis=-1, keepdims=True), "int32")
