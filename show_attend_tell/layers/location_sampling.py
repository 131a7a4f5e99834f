"""Samples one location for stochastic "hard" attention (section 4.1)."""

import dataclasses
import typing

from keras import ops


@dataclasses.dataclass(frozen=True, eq=False)
class AttentionSampling:
    """The randomness of hard attention in a training step.

    Attributes:
        noise: Gumbel noise, `(T, N, K, L)`.
        sampled: `(N, K)` float, one for captions whose locations are sampled,
            zero for those that see the expected context.
        gumbel_temperature: Of the straight-through Gumbel estimator (Jang et
            al. 2017); 0 sends no gradient through the sample.
    """

    noise: typing.Any
    sampled: typing.Any
    gumbel_temperature: float = 0.0


def sample_locations(attention, noise, sampled, gumbel_temperature=0.0):
    """Samples `s_t ~ Multinoulli(alpha_t)` by the Gumbel-max trick.

    Attention and noise are `(N, K, L)`; for the others see
    `AttentionSampling`. Returns `(N, K, L)`: one at the sampled location, or
    the attention itself.
    """
    scores = perturbed_log(attention, noise)
    location = ops.argmax(scores, axis=-1)  # (N, K)
    weights = ops.one_hot(location, attention.shape[-1], dtype=attention.dtype)
    if gumbel_temperature:
        # The value of the sample, the gradient of `relaxed`.
        relaxed = ops.softmax(scores / gumbel_temperature, axis=-1)
        weights = weights + (relaxed - ops.stop_gradient(relaxed))
    return ops.where(ops.expand_dims(sampled, -1) > 0, weights, attention)


def perturbed_log(attention, noise):
    """Returns `log alpha + noise`, whose maximum is the sampled location."""
    return ops.log(ops.maximum(attention, 1e-30)) + noise
