"""Self-critical sequence training (Rennie et al. 2017)."""

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from pipelines.errors import UserError
from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.configs.objective import REWARD_BASELINES
from show_attend_tell.decoding.candidates import (
    MASKED_LOG_PROBABILITY,
    mask_tokens,
)
from show_attend_tell.decoding.decode import decode
from show_attend_tell.layers import (
    AttentionSupervision,
    DoublyStochasticRegularizer,
)
from show_attend_tell.metrics.bleu import counts_of_matches, smoothed_bleu
from show_attend_tell.metrics.cider import cider_d
from show_attend_tell.metrics.meteor import exact_meteor
from show_attend_tell.metrics.ngrams import ReferenceNgrams
from show_attend_tell.objectives.likelihood import caption_nll
from show_attend_tell.objectives.objective import (
    Losses,
    Objective,
    targets_and_mask,
)
from show_attend_tell.objectives.replicas import replica_rows, replica_sum


@keras.saving.register_keras_serializable(package="show_attend_tell")
class SelfCritical(Objective):
    """The expected reward of captions that the model samples.

    With `w` a sampled caption, `r` its reward and `b` a baseline that does not
    depend on it,

        gradient E[r(w)] = E[(r(w) - b) gradient log p(w)]

    so that the loss of a caption, mean over the batch, is

        -stop(r - b) log p(w) + penalty

    with `r` its CIDEr-D, `reward_bleu` times its BLEU-4 and `reward_meteor`
    times its `exact_meteor` against the reference captions of the image, and
    the doubly stochastic penalty of equation 14. In all of them the end counts
    as a word: without it captions that stop after "a" score best.

    Captions are sampled as they are generated later: without dropout, from the
    expected context (also where attention was hard), and never with an unknown
    word. `p` is the probability among the words that may be sampled. A caption
    that has `max_words` words and does not end is cut: it has no end to be
    rewarded for, and its last step is the event of any word but the end.

    Needs `adapt` before training, and `examples` `(N,)` int in a batch, the
    number of each image's example; -1 for a row that is empty. It runs on
    TensorFlow alone.

    Args:
        max_words: Captions are cut here.
        reward_samples: Captions sampled for each image, two or more with the
            baseline of the others.
        reward_baseline: `"others"`, the mean reward of the image's other
            samples, or `"greedy"` (the paper's), the reward of the caption
            that takes the likeliest word at every step.
        reward_bleu: The weight of BLEU-4, against 1 of CIDEr-D.
        reward_meteor: The weight of METEOR, against 1 of CIDEr-D.
        reward_temperature: What logits are divided by, both to sample captions
            and in `p`: below one, captions are nearer to the likeliest ones,
            which are those that are generated later.
        regularizer_weight: Lambda of the doubly stochastic penalty.
        regularizer_normalization: Of the penalty, `"sum"` or `"mean"`.
        attention_supervision: The weight of `AttentionSupervision` of the
            sampled captions, where `supervise` told what their words name.
        length_step: Captions are padded to a multiple of this many steps, as
            a compiled step is compiled once a length.
        seed: Of the samples; with the step, all randomness follows from it.
    """

    def __init__(
        self,
        max_words: int = 30,
        reward_samples: int = 5,
        reward_baseline: str = "others",
        reward_bleu: float = 0.0,
        reward_meteor: float = 0.0,
        reward_temperature: float = 1.0,
        regularizer_weight: float = 1.0,
        regularizer_normalization: str = "sum",
        attention_supervision: float = 0.0,
        length_step: int = 4,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if reward_baseline not in REWARD_BASELINES:
            raise ValueError(
                f"`reward_baseline` must be one of {REWARD_BASELINES}. "
                f"Received: {reward_baseline=}"
            )
        if reward_samples < (2 if reward_baseline == "others" else 1):
            raise ValueError(
                "`reward_samples` must be positive, and 2 or more where the "
                f"others are the baseline. Received: {reward_samples=}"
            )
        self.reward_baseline = reward_baseline
        self.reward_bleu = reward_bleu
        self.reward_meteor = reward_meteor
        self.length_step = length_step
        self.seed = seed
        self.sampling = Decoding(
            "sample",
            num_captions=reward_samples,
            max_words=max_words,
            temperature=reward_temperature,
        )
        self.greedy = Decoding("greedy", max_words=max_words)
        self.regularizer = DoublyStochasticRegularizer(
            regularizer_weight, regularizer_normalization
        )
        self.supervision = AttentionSupervision(attention_supervision)
        self.reward_metric = keras.metrics.Mean(name="reward")
        self._generate = tf.function(
            _generate, jit_compile=True, autograph=False
        )
        self._references = None
        self._cover = None

    def adapt(self, captions):
        """Learns the references, ends of captions among them.

        Raises:
            UserError: They leave CIDEr-D undefined, and nothing else rewards.
        """
        self._references = ReferenceNgrams(
            [[caption[1:] for caption in each] for each in captions]
        )
        other = self.reward_bleu or self.reward_meteor
        if not self._references.any_rare and not other:
            raise UserError(
                "Expected training images whose captions differ: CIDEr-D "
                "weighs words by how few images have them. Received: "
                f"{len(captions)} training images, all of the same words. "
                "Give more images, or --reward_bleu=1."
            )

    def supervise(self, cover):
        """Takes what tells how much of each location words' boxes cover."""
        self._cover = cover

    def prepare(self, captioner, inputs, step):
        """Samples captions and compares their rewards.

        Returns:
            `inputs` with `tokens` `(N, K, T + 1)` from the start token on, of
            padding in rows that are empty; `finished` `(N, K)` bool, false for
            what was cut; and `advantage` `(N, K)`, the reward less the
            baseline.
        """
        annotations, examples = inputs["annotations"], inputs["examples"]
        n, steps = ops.shape(annotations)[0], self.sampling.steps
        samples = self.sampling.num_captions
        seed = [self.seed, tf.cast(step, tf.int32)]
        noise = replica_rows(
            lambda n: tf.random.stateless_uniform((n, samples, steps, 2), seed),
            n,
        )
        tokens, finished = self._generate(
            captioner, annotations, noise, self.sampling
        )
        rewards = self._rewards(tokens, examples)
        if self.reward_baseline == "greedy":
            best, _ = self._generate(captioner, annotations, noise, self.greedy)
            baseline = self._rewards(best, examples)
        else:
            others = ops.sum(rewards, axis=1, keepdims=True) - rewards
            baseline = others / (samples - 1)
        real = examples >= 0
        self.reward_metric.update_state(
            ops.mean(rewards, axis=1), ops.cast(real, "float32")
        )
        start = ops.full((n, samples, 1), START, dtype="int32")
        tokens = ops.concatenate([start, tokens], axis=2)
        tokens = ops.where(real[:, None, None], tokens, PADDING)
        longest = self._longest(tokens[:, :, 1:], finished)
        tokens = tokens[:, :, : longest + 1]
        if self._cover is not None:
            inputs = {**inputs, "coverage": self._coverage(tokens, examples)}
        return {
            **inputs,
            "tokens": tokens,
            "finished": finished,
            "advantage": rewards - baseline,
        }

    def compute_losses(self, captioner, inputs, training=None) -> Losses:
        """Returns losses whose gradient is that of the expected reward.

        Nothing is dropped in training, so that captions have the probability
        that they were sampled with.
        """
        outputs = captioner(
            {name: inputs[name] for name in ("annotations", "tokens")},
            training=False,
        )
        targets, mask = targets_and_mask(inputs)
        # (T, V): what is not sampled has no probability here either.
        step = ops.expand_dims(ops.arange(ops.shape(targets)[2]), 1)
        logits = ops.cast(outputs["logits"], "float32")
        logits = logits + mask_tokens(logits.shape[-1], step, self.sampling)
        logits = logits / self.sampling.temperature
        nll = caption_nll(logits, targets, mask)
        real = ops.any(mask, axis=-1)
        cut = ops.logical_and(real, ops.logical_not(inputs["finished"]))
        nll = nll + ops.where(cut, _nll_of_no_end(logits[:, :, -1]), 0.0)
        real = ops.cast(real, "float32")
        penalty = self.regularizer(outputs["attention"], mask)
        if "coverage" in inputs:
            penalty = penalty + self.supervision(
                outputs["attention"], inputs["coverage"]
            )
        loss = ops.sum((inputs["advantage"] * nll + penalty) * real)
        captions = ops.maximum(replica_sum(ops.sum(real)), 1)
        words = ops.sum(ops.cast(mask, "float32"))
        return Losses(loss / captions, ops.sum(nll), words)

    def _coverage(self, tokens, examples):
        """Returns what the boxes of words cover, `(N, K, T, L)` float32."""
        covered = tf.numpy_function(
            self._cover, [tokens, examples], tf.float32, stateful=False
        )
        return tf.ensure_shape(covered, (*tokens.shape[:2], None, None))

    def _rewards(self, tokens, examples):
        """Returns the reward of each caption, `(N, K)` float32."""
        rewards = tf.numpy_function(
            self._score, [tokens, examples], tf.float32, stateful=False
        )
        return tf.ensure_shape(rewards, tokens.shape[:2])

    def _score(self, tokens, examples):
        n, k, steps = tokens.shape
        # An empty row is compared with the first example, and never counted.
        images = np.repeat(np.maximum(examples, 0), k)
        matches = self._references.match(tokens.reshape(-1, steps), images)
        rewards = (
            cider_d(matches)
            + self.reward_bleu * smoothed_bleu(counts_of_matches(matches))
            + self.reward_meteor * exact_meteor(matches)
        )
        return rewards.reshape(n, k).astype(np.float32)

    def _longest(self, tokens, finished):
        """Returns the number of steps of the longest caption, rounded up."""
        words = ops.sum(ops.cast(tokens != PADDING, "int32"), axis=-1)
        # A word was sampled at the last step of what was cut, too.
        cut = ops.logical_and(words > 0, ops.logical_not(finished))
        longest = ops.max(words + ops.cast(cut, "int32"))
        step = self.length_step
        longest = ops.maximum((longest + step - 1) // step, 1) * step
        return ops.minimum(longest, self.sampling.steps)


def _generate(captioner, annotations, noise, decoding):
    captions = decode(captioner, annotations, decoding, noise)
    return captions.tokens, captions.finished


def _nll_of_no_end(logits):
    """Returns `-log(1 - p(end))`, `(...)`, of logits `(..., V)`."""
    end = ops.equal(ops.arange(logits.shape[-1]), END)
    others = logits + MASKED_LOG_PROBABILITY * ops.cast(end, "float32")
    return ops.logsumexp(logits, axis=-1) - ops.logsumexp(others, axis=-1)
