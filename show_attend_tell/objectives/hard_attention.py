"""Stochastic "hard" attention (section 4.1)."""

import keras
from keras import ops

from show_attend_tell.configs.objective import REINFORCE_SCALES
from show_attend_tell.layers import AttentionSampling
from show_attend_tell.objectives.likelihood import Likelihood, caption_nll
from show_attend_tell.objectives.objective import Losses, targets_and_mask
from show_attend_tell.objectives.replicas import replica_sum


@keras.saving.register_keras_serializable(package="show_attend_tell")
class HardAttention(Likelihood):
    """The likelihood of captions where locations are sampled (section 4.1).

    At every step of training a location `s_t ~ Multinoulli(alpha_t)` makes the
    context, for a part of the images; others see the expected context. The
    loss of a caption is that of `Likelihood` and

        reinforce_weight stop(R - b) sum_t log alpha_t[s_t]
            - entropy_weight sum_t H[alpha_t]

    with `R = -log p(y | s, a)` and a baseline `b`; the first term only where
    locations were sampled. Its gradient is the learning rule of section 4.1,
    an estimate of equation 11 by equation 12, with variance reduced.

    Args:
        soft_attention_probability: The probability that an image sees the
            expected context in a step of training.
        reinforce_weight: Lambda_r.
        entropy_weight: Lambda_e.
        baseline_decay: The part of the moving average `b` that stays.
        reinforce_scale: `"caption"`, the loss above, mean over the batch; or
            `"released"`, that of the authors' code: `R` is the mean over the
            caption's words, and the two terms are summed over the batch.
        attention_samples: How often each caption is sampled; from two on, `b`
            is the mean of its other samples.
        gumbel_temperature: Of the straight-through Gumbel estimator (Jang et
            al. 2017), which takes the place of REINFORCE; 0 for REINFORCE.
        **kwargs: Those of `Likelihood`.
    """

    def __init__(
        self,
        soft_attention_probability: float = 0.5,
        reinforce_weight: float = 0.1,
        entropy_weight: float = 0.002,
        baseline_decay: float = 0.9,
        reinforce_scale: str = "caption",
        attention_samples: int = 1,
        gumbel_temperature: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if reinforce_scale not in REINFORCE_SCALES:
            raise ValueError(
                f"`reinforce_scale` must be one of {REINFORCE_SCALES}. "
                f"Received: {reinforce_scale=}"
            )
        if attention_samples < 1:
            raise ValueError(
                "`attention_samples` must be positive. "
                f"Received: {attention_samples=}"
            )
        self.soft_attention_probability = soft_attention_probability
        self.reinforce_weight = reinforce_weight
        self.entropy_weight = entropy_weight
        self.baseline_decay = baseline_decay
        self.reinforce_scale = reinforce_scale
        self.attention_samples = attention_samples
        self.gumbel_temperature = gumbel_temperature
        self._seed = keras.random.SeedGenerator(0)
        # See `moving_baseline`.
        self.average = self.add_weight(
            name="average",
            shape=(2,),
            initializer="zeros",
            trainable=False,
            aggregation="only_first_replica",  # All compute the same.
        )

    def prepare(self, captioner, inputs, step):
        """Repeats each caption for each of its samples; see `Likelihood`."""
        inputs = super().prepare(captioner, inputs, step)
        if self.attention_samples > 1:
            for name in {"tokens", "targets", "coverage"} & set(inputs):
                repeated = ops.repeat(inputs[name], self.attention_samples, 1)
                inputs = {**inputs, name: repeated}
        return inputs

    def compute_losses(self, captioner, inputs, training=None) -> Losses:
        """Returns the losses of a batch; see `Objective`."""
        if not training:
            return super().compute_losses(captioner, inputs, training)
        sampling = self.sample(captioner, inputs)
        outputs = captioner(inputs, training=True, sampling=sampling)
        targets, mask = targets_and_mask(inputs)
        nll = caption_nll(outputs["logits"], targets, mask)
        losses = self.losses_of(nll, outputs, targets, mask, inputs)
        added = self.sampling_loss(nll, outputs, sampling.sampled, mask)
        return losses._replace(loss=losses.loss + added)

    def sample(self, captioner, inputs) -> AttentionSampling:
        """Returns the randomness of one step of training."""
        n, k, steps = ops.shape(inputs["tokens"][:, :, :-1])
        locations = ops.shape(inputs["annotations"])[1]
        shape = (steps, n, k, captioner.num_locations(locations))
        noise = keras.random.uniform(
            shape, minval=1e-9, maxval=1.0, seed=self._seed
        )
        image = keras.random.uniform((n, 1), seed=self._seed)
        sampled = ops.cast(image >= self.soft_attention_probability, "float32")
        return AttentionSampling(
            -ops.log(-ops.log(noise)),
            ops.broadcast_to(sampled, (n, k)),
            self.gumbel_temperature,
        )

    def sampling_loss(self, nll, outputs, sampled, mask):
        """Returns what is added to the loss of `Likelihood`, a scalar.

        Args:
            nll: `R`, `(N, K)`.
            outputs: The captioner's.
            sampled: `(N, K)`, see `AttentionSampling`.
            mask: `(N, K, T)`, true where a word (or the end token) is.
        """
        attention = outputs["attention"]
        words = ops.sum(ops.cast(mask, "float32"), axis=-1)
        real = ops.cast(words > 0, "float32")
        added = self.entropy_weight * negative_entropy(attention, mask)
        if not self.gumbel_temperature:
            reward = nll
            if self.reinforce_scale == "released":
                reward = nll / ops.maximum(words, 1.0)
            sampled = sampled * real
            advantage = self._advantage(ops.stop_gradient(reward), sampled)
            score = log_probability_of_locations(
                attention, outputs["context_weights"], mask
            )
            added = added + self.reinforce_weight * sampled * advantage * score
        total = ops.sum(added * real)
        if self.reinforce_scale == "released":
            return total
        return total / ops.maximum(replica_sum(ops.sum(real)), 1.0)

    def _advantage(self, reward, sampled):
        """Returns `R - b`, `(N, K)`, and moves the baseline on."""
        if self.attention_samples > 1:
            return advantage_over_others(reward, self.attention_samples)
        advantage, average = moving_baseline(
            reward, sampled, self.average, self.baseline_decay
        )
        self.average.assign(average)
        return advantage

    @property
    def random_generators(self):
        """See `Objective`."""
        return [(self._seed, 2), *super().random_generators]


def log_probability_of_locations(attention, context_weights, mask):
    """Equation 8: `log p(s | a) = sum_t log alpha_t[s_t]` of every caption.

    Args:
        attention: `alpha`, `(N, K, T, L)`.
        context_weights: One at the sampled locations, `(N, K, T, L)`.
        mask: `(N, K, T)`, true where a word (or the end token) is.

    Returns:
        `(N, K)` float32, differentiable in the attention alone.
    """
    context_weights = ops.stop_gradient(context_weights)
    score = ops.sum(context_weights * _log(attention), axis=-1)
    return ops.sum(ops.where(mask, score, 0.0), axis=-1)


def negative_entropy(attention, mask):
    """Section 4.1: `-sum_t H[alpha_t]` of every caption, `(N, K)`.

    The arguments are those of `log_probability_of_locations`.
    """
    each = ops.sum(attention * _log(attention), axis=-1)
    return ops.sum(ops.where(mask, each, 0.0), axis=-1)


def moving_baseline(reward, sampled, average, decay):
    """Section 4.1: `b_k = decay b_(k-1) + (1 - decay) R_k`, over batches.

    The average starts at nothing, so the part of it that is there already is
    kept beside it, and divides it. The first batch has no baseline, and an
    advantage of zero.

    Args:
        reward: `R`, `(N, K)`.
        sampled: `(N, K)`, one where locations were sampled, zero elsewhere.
        average: The average and the part of it that is there, `(2,)`.
        decay: The part of the average that stays.

    Returns:
        The advantage `R - b_(k-1)`, `(N, K)`, and the next average, `(2,)`.
    """
    value, part = average[0], average[1]
    baseline = value / ops.maximum(part, 1e-9)
    advantage = ops.where(part > 0, reward - baseline, 0.0)
    rewards, count = replica_sum([ops.sum(reward * sampled), ops.sum(sampled)])
    mean = rewards / ops.maximum(count, 1.0)
    keep = ops.where(count > 0, decay, 1.0)
    return advantage, ops.stack(
        [keep * value + (1 - keep) * mean, keep * part + (1 - keep)]
    )


def advantage_over_others(reward, samples: int):
    """Returns `R - b` with `b` the mean of a caption's other samples.

    Args:
        reward: `R`, `(N, K samples)`, the samples of a caption in a row.
        samples: Two or more.
    """
    n, k = ops.shape(reward)
    groups = ops.reshape(reward, (n, -1, samples))
    others = ops.sum(groups, axis=-1, keepdims=True) - groups
    return ops.reshape(groups - others / (samples - 1), (n, k))


def _log(attention):
    return ops.log(ops.maximum(attention, 1e-30))
