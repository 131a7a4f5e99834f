r"""Self-critical sequence training (Rennie et al. 2017).

Likelihood asks for the words that people wrote; what is asked for here is
that captions the model says itself score well. With `w` a caption drawn from
the model, `r` its reward and `b` a baseline that does not depend on it,

    gradient E[r(w)] = E[(r(w) - b) gradient log p(w)]
"""

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from pipelines.vocabulary import END, PADDING, START
from show_attend_tell.configs.decoding import Decoding
from show_attend_tell.decoding.candidates import (
    MASKED_LOG_PROBABILITY,
    mask_tokens,
)
from show_attend_tell.decoding.decode import decode
from show_attend_tell.metrics.bleu import counts_of_matches, smoothed_bleu
from show_attend_tell.metrics.cider import cider_d
from show_attend_tell.metrics.meteor import exact_meteor
from show_attend_tell.metrics.ngrams import ReferenceNgrams
from show_attend_tell.model import Captioner
from show_attend_tell.objectives.likelihood import caption_nll
from show_attend_tell.objectives.replicas import own_rows, total

BASELINES = ("others", "greedy")


class SelfCritical:
    """The loss of captions that the model says itself.

    The loss of a caption, mean over the batch, is

        -stop(r - b) log p(w) + penalty

    with `r` its CIDEr-D, `bleu_weight` times its BLEU-4 and `meteor_weight`
    times its METEOR (`exact_meteor`) against the captions that
    people wrote of the image, and the penalty that of the captioner. In all of
    them the end counts as a word: without it captions that stop after "a"
    score best.

    Captions are drawn as they are said later: without dropout, from the
    expected annotation (also where attention is hard), and never with an
    unknown word. `p` is the probability among the words that may be said, the
    very one that is drawn from. A caption that has `max_words` words and does
    not end is cut: it has no end to be rewarded for, and its last step is the
    event of saying anything but the end.

    The chance of a step follows from the seed and the number of steps that
    the optimizer has taken.

    Args:
        captioner: The model, with its optimizer.
        captions: For each example its captions, from start to end token.
        max_words: Captions are cut here.
        samples: Captions drawn for each image, two or more with the baseline
            of the others.
        baseline: `"others"`, the mean reward of the image's other samples,
            or `"greedy"` (the paper's), the reward of the caption that takes
            the likeliest word at every step.
        bleu_weight: What BLEU-4 counts beside CIDEr-D.
        meteor_weight: What METEOR counts beside CIDEr-D.
        temperature: What logits are divided by, both to draw captions and in
            `p`: below one, captions are nearer to the likeliest ones, which
            are those that are said later.
        length_step: Captions are padded to a multiple of this many steps, as
            a compiled step is compiled once a length.
        seed: Of the samples.
    """

    def __init__(
        self,
        captioner: Captioner,
        captions: Sequence[Sequence[np.ndarray]],
        max_words: int = 30,
        samples: int = 5,
        baseline: str = "others",
        bleu_weight: float = 0.0,
        meteor_weight: float = 0.0,
        temperature: float = 1.0,
        length_step: int = 4,
        seed: int = 0,
    ):
        if baseline not in BASELINES:
            raise ValueError(
                f"`baseline` must be one of {BASELINES}. "
                f"Received: baseline={baseline!r}"
            )
        if samples < (2 if baseline == "others" else 1):
            raise ValueError(
                "`samples` must be positive, and 2 or more where the others "
                f"are the baseline. Received: samples={samples}"
            )
        self.captioner = captioner
        self.references = ReferenceNgrams(
            [[caption[1:] for caption in each] for each in captions]
        )
        self.samples, self.baseline = samples, baseline
        self.bleu_weight, self.meteor_weight = bleu_weight, meteor_weight
        self.length_step, self.seed = length_step, seed
        self.drawing = Decoding(
            "sample",
            num_captions=samples,
            max_words=max_words,
            temperature=temperature,
        )
        self.greedy = Decoding("greedy", max_words=max_words)
        self.metrics = [keras.metrics.Mean(name="reward")]
        self._say = tf.function(
            self._decoded, jit_compile=True, autograph=False
        )

    def said(self, inputs):
        """Draws captions and compares their rewards.

        To be called outside of a gradient tape.

        Args:
            inputs: `annotations` `(N, L, D)` and `examples` `(N,)`, the
                number of each image's example; -1 for a row that is empty.

        Returns:
            What `losses_of` takes: `inputs` with `tokens` `(N, S, T + 1)`
            from the start token on, of padding alone in rows that are
            empty; `finished` `(N, S)` bool, false for what was cut; and
            `advantage` `(N, S)`, the reward less the baseline.
        """
        annotations, examples = inputs["annotations"], inputs["examples"]
        n, steps = ops.shape(annotations)[0], self.drawing.steps
        seed = [
            self.seed,
            tf.cast(self.captioner.optimizer.iterations, tf.int32),
        ]
        noise = own_rows(
            lambda n: tf.random.stateless_uniform(
                (n, self.samples, steps, 2), seed
            ),
            n,
        )
        tokens, finished = self._say(annotations, noise, self.drawing)
        rewards = self._rewards(tokens, examples)
        if self.baseline == "greedy":
            best, _ = self._say(annotations, noise, self.greedy)
            baseline = self._rewards(best, examples)
        else:
            each = ops.sum(rewards, axis=1, keepdims=True)
            baseline = (each - rewards) / (self.samples - 1)
        real = ops.expand_dims(examples >= 0, 1)
        self.metrics[0].update_state(
            ops.mean(rewards, axis=1), ops.cast(real[:, 0], "float32")
        )
        tokens = ops.where(real[:, :, None], tokens, PADDING)
        tokens = tokens[:, :, : self._longest(tokens, finished)]
        start = ops.full((n, self.samples, 1), START, dtype="int32")
        start = ops.where(real[:, :, None], start, PADDING)
        return {
            **inputs,
            "tokens": ops.concatenate([start, tokens], axis=2),
            "finished": finished,
            "advantage": rewards - baseline,
        }

    def losses_of(self, inputs, training=None):
        """Returns the loss whose gradient is that of the expected reward.

        Args:
            inputs: What `said` returned.
            training: Not looked at: nothing is dropped, so that captions
                have the probability that they were drawn with.

        Returns:
            The mean loss of a caption, the summed negative log-likelihood of
            what was said, and the number of its words, all scalars.
        """
        finished, advantage = inputs["finished"], inputs["advantage"]
        outputs = self.captioner(
            {name: inputs[name] for name in ("annotations", "tokens")},
            training=False,
        )
        targets = inputs["tokens"][:, :, 1:]
        mask = targets != PADDING
        # (T, V): what was not to be drawn has no probability here either.
        step = ops.expand_dims(ops.arange(ops.shape(targets)[2]), 1)
        logits = ops.cast(outputs["logits"], "float32")
        logits = logits + mask_tokens(logits.shape[-1], step, self.drawing)
        logits = logits / self.drawing.temperature
        nll = caption_nll(logits, targets, mask)
        real = ops.any(mask, axis=-1)
        cut = ops.logical_and(real, ops.logical_not(finished))
        nll = nll + ops.where(cut, _going_on(logits[:, :, -1]), 0.0)
        real = ops.cast(real, "float32")
        penalty = self.captioner.regularizer(outputs["attention"], mask)
        loss = ops.sum((advantage * nll + penalty) * real)
        words = ops.sum(ops.cast(mask, "float32"))
        captions = ops.maximum(total(ops.sum(real)), 1)
        return loss / captions, ops.sum(nll), words

    def _decoded(self, annotations, noise, decoding):
        said = decode(self.captioner, annotations, decoding, noise)
        return said.tokens, said.finished

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
        matches = self.references.match(tokens.reshape(-1, steps), images)
        rewards = (
            cider_d(matches)
            + self.bleu_weight * smoothed_bleu(counts_of_matches(matches))
            + self.meteor_weight * exact_meteor(matches)
        )
        return rewards.reshape(n, k).astype(np.float32)

    def _longest(self, tokens, finished):
        """Returns the number of steps of the longest caption, rounded up."""
        words = ops.sum(ops.cast(tokens != PADDING, "int32"), axis=-1)
        # Something was drawn at the last step of what was cut, too.
        cut = ops.logical_and(words > 0, ops.logical_not(finished))
        longest = ops.max(words + ops.cast(cut, "int32"))
        step = self.length_step
        longest = ops.maximum((longest + step - 1) // step, 1) * step
        return ops.minimum(longest, self.drawing.steps)


def _going_on(logits):
    """Returns `-log(1 - p(end))`, `(...)`, of logits `(..., V)`."""
    end = ops.equal(ops.arange(logits.shape[-1]), END)
    others = logits + MASKED_LOG_PROBABILITY * ops.cast(end, "float32")
    return ops.logsumexp(logits, axis=-1) - ops.logsumexp(others, axis=-1)
