"""Which part of the image a word is said from."""

from keras import ops

from show_attend_tell.decoding.settings import Decoding


class Look:
    """Turns attention into the weights that make the context.

    Call it once a step; `locations` then has where it looked. Of an ensemble
    each member calls it, and `locations` has where all of them looked, and -1
    where they looked at several locations.

    Args:
        decoding: The settings.
        noise: `(N, W, T, 2)`, see `decode`.
        step: How many words have been said, an integer scalar.
    """

    def __init__(self, decoding: Decoding, noise, step):
        self._decoding, self._sampling_noise, self._step = decoding, noise, step
        self.locations = None

    def __call__(self, attention):
        """Takes and returns `(N, W, L)`."""
        if self._decoding.context_mode == "expected":
            self.locations = ops.full(
                ops.shape(attention)[:2], -1, dtype="int32"
            )
            return attention
        if self._decoding.context_mode == "peak":
            # The first result alone: LiteRT has no argmax of this kind.
            place = ops.top_k(attention, 1)[1]
        else:
            chance = noise_of_step(self._sampling_noise, self._step, 1)
            place = drawn(attention, chance)
        locations = ops.arange(attention.shape[-1], dtype="int32")
        place = ops.cast(place, "int32")
        before, self.locations = self.locations, place[..., 0]
        if before is not None:
            same = ops.equal(before, self.locations)
            self.locations = ops.where(same, before, -1)
        return ops.cast(ops.equal(locations, place), attention.dtype)


def noise_of_step(noise, step, kind: int):
    """Returns the noise of a step, `(N, W, 1)`: 0 of words, 1 of locations."""
    n, width = ops.shape(noise)[0], noise.shape[1]
    return ops.slice(noise, (0, 0, step, kind), (n, width, 1, 1))[..., 0]


def drawn(probability, chance):
    """Returns the number that is drawn, `(N, W, 1)` int32.

    Args:
        probability: `(N, W, C)`, not negative; need not add up to one.
        chance: `(N, W, 1)` uniform in [0, 1).
    """
    reached = ops.cumsum(probability, axis=-1)
    # A little less than all, so that rounding never reaches past the last.
    target = chance * (1 - 1e-6) * reached[..., -1:]
    passed = ops.cast(reached <= target, "int32")
    return ops.cast(ops.sum(passed, axis=-1, keepdims=True), "int32")
