"""Learning where to look by trying: hard attention (section 4.1)."""

import keras
from keras import ops

from show_attend_tell.layers import AttentionSampling
from show_attend_tell.objectives.likelihood import (
    log_probability_of_locations,
    negative_entropy,
)
from show_attend_tell.objectives.replicas import total

SCALES = ("caption", "released")


class HardAttention(keras.layers.Layer):
    """Draws locations in training, and learns from how well that went.

    See `Captioner` for the loss and the arguments.
    """

    def __init__(
        self,
        soft_attention_probability: float,
        reinforce_weight: float,
        entropy_weight: float,
        baseline_decay: float,
        scale: str,
        samples: int,
        gumbel_temperature: float,
    ):
        super().__init__(name="hard_attention", dtype="float32")
        if scale not in SCALES:
            raise ValueError(
                f"`reinforce_scale` must be one of {SCALES}. "
                f"Received: reinforce_scale={scale!r}"
            )
        if samples < 1:
            raise ValueError(
                "`attention_samples` must be positive. "
                f"Received: attention_samples={samples}"
            )
        self.soft_attention_probability = soft_attention_probability
        self.reinforce_weight = reinforce_weight
        self.entropy_weight = entropy_weight
        self.baseline_decay = baseline_decay
        self.scale = scale
        self.samples = samples
        self.gumbel_temperature = gumbel_temperature
        self.seed_generator = keras.random.SeedGenerator(0)
        # The moving average, and how much of it is there already: it starts
        # from nothing.
        self.average = self.add_weight(
            name="average",
            shape=(2,),
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",  # All have the same.
        )
        self.built = True

    def repeated(self, inputs):
        """Returns the inputs with each caption as often as locations are drawn."""
        if self.samples == 1:
            return inputs
        tokens = ops.repeat(inputs["tokens"], self.samples, axis=1)
        return {**inputs, "tokens": tokens}

    def sampling(self, tokens, annotations) -> AttentionSampling:
        """Returns the randomness of one step of training.

        Args:
            tokens: `(N, K, T)`.
            annotations: `(N, L, D)`.
        """
        n, k, steps = ops.shape(tokens)
        shape = (steps, n, k, ops.shape(annotations)[1])
        noise = keras.random.uniform(
            shape, minval=1e-9, maxval=1.0, seed=self.seed_generator
        )
        image = keras.random.uniform((n, 1), seed=self.seed_generator)
        sampled = ops.cast(image >= self.soft_attention_probability, "float32")
        return AttentionSampling(
            -ops.log(-ops.log(noise)),
            ops.broadcast_to(sampled, (n, k)),
            self.gumbel_temperature,
        )

    def loss(self, nll, outputs, mask):
        """Returns what is added to the mean loss of a caption, a scalar.

        Args:
            nll: `(N, K)`.
            outputs: With `attention`, `context_weights` `(N, K, T, L)` and
                `sampled` `(N, K)`.
            mask: `(N, K, T)`, true where there is a word.
        """
        attention = outputs["attention"]
        words = ops.sum(ops.cast(mask, "float32"), axis=-1)
        real = ops.cast(words > 0, "float32")
        added = self.entropy_weight * negative_entropy(attention, mask)
        if not self.gumbel_temperature:
            reward = nll
            if self.scale == "released":
                reward = nll / ops.maximum(words, 1.0)
            learned = outputs["sampled"] * real
            advantage = self._advantage(ops.stop_gradient(reward), learned)
            locations = log_probability_of_locations(
                attention, outputs["context_weights"], mask
            )
            added = added + (
                self.reinforce_weight * learned * advantage * locations
            )
        whole = ops.sum(added * real)
        if self.scale == "released":
            return whole
        return whole / ops.maximum(total(ops.sum(real)), 1.0)

    def _advantage(self, reward, learned):
        """Returns `R - b`, and moves the average on."""
        if self.samples > 1:
            n, k = ops.shape(reward)
            groups = ops.reshape(reward, (n, -1, self.samples))
            each = ops.sum(groups, axis=-1, keepdims=True)
            others = (each - groups) / (self.samples - 1)
            return ops.reshape(groups - others, (n, k))
        rewards, count = total([ops.sum(reward * learned), ops.sum(learned)])
        now = rewards / ops.maximum(count, 1.0)
        average, part = self.average[0], self.average[1]
        # The first batch has nothing to be compared with, and teaches nothing.
        baseline = average / ops.maximum(part, 1e-9)
        advantage = ops.where(part > 0, reward - baseline, 0.0)
        keep = ops.where(count > 0, self.baseline_decay, 1.0)
        moved = [
            keep * average + (1 - keep) * now,
            keep * part + (1 - keep),
        ]
        self.average.assign(ops.stack(moved))
        return advantage
