"""The likelihood of captions with doubly stochastic attention (eq. 14)."""

import keras
from keras import ops

from pipelines.vocabulary import END
from show_attend_tell.layers import (
    AttentionSupervision,
    DoublyStochasticRegularizer,
)
from show_attend_tell.objectives.objective import (
    Losses,
    Objective,
    targets_and_mask,
)
from show_attend_tell.objectives.replicas import replica_sum
from show_attend_tell.objectives.scheduled_sampling import (
    replace_previous_words,
)


@keras.saving.register_keras_serializable(package="show_attend_tell")
class Likelihood(Objective):
    """The negative log-likelihood of captions (Xu et al. 2015, equation 14).

    The loss of a caption, mean over the captions of a batch, is

        - sum_t log p(y_t | y_1 ... y_(t-1), a)
            + regularizer_weight sum_i (1 - sum_t alpha_ti)^2

    Args:
        regularizer_weight: Lambda of the doubly stochastic penalty.
        regularizer_normalization: `"sum"` over locations (the paper's), or
            `"mean"`.
        label_smoothing: The share of each word's probability that the loss
            spreads over all words, see `smoothing`. It is no part of the
            metric `nll_per_word`.
        scheduled_sampling: The probability in training that a previous word
            is replaced by one that the model samples, see
            `replace_previous_words`; with `set_progress` that of the last
            epoch, growing evenly from zero in the first.
        attention_supervision: The weight of `AttentionSupervision`, where the
            inputs have the `coverage` of words by boxes.
    """

    def __init__(
        self,
        regularizer_weight: float = 1.0,
        regularizer_normalization: str = "sum",
        label_smoothing: float = 0.0,
        scheduled_sampling: float = 0.0,
        attention_supervision: float = 0.0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.regularizer = DoublyStochasticRegularizer(
            regularizer_weight, regularizer_normalization
        )
        self.supervision = AttentionSupervision(attention_supervision)
        self.label_smoothing = label_smoothing
        self.scheduled_sampling = scheduled_sampling
        if scheduled_sampling:
            self._seeds = [keras.random.SeedGenerator(n) for n in (0, 1)]
            self.sampling_probability = self.add_weight(
                name="sampling_probability",
                initializer=keras.initializers.Constant(scheduled_sampling),
                trainable=False,
            )

    def set_progress(self, epoch, epochs):
        """Sets the probability of scheduled sampling; see `Objective`."""
        if self.scheduled_sampling:
            progress = epoch / (epochs - 1) if epochs > 1 else 1.0
            self.sampling_probability.assign(self.scheduled_sampling * progress)

    def prepare(self, captioner, inputs, step):
        """Replaces some previous words; see `Objective`."""
        if not self.scheduled_sampling:
            return inputs
        tokens, probability = inputs["tokens"], self.sampling_probability

        def replaced():
            logits = captioner(inputs, training=False)["logits"]
            return replace_previous_words(
                tokens, logits, probability, self._seeds
            )

        return {
            **inputs,
            "tokens": ops.cond(probability > 0, replaced, lambda: tokens),
            "targets": tokens[:, :, 1:],
        }

    def compute_losses(self, captioner, inputs, training=None) -> Losses:
        """Returns the losses of a batch; see `Objective`."""
        outputs = captioner(inputs, training=training)
        targets, mask = targets_and_mask(inputs)
        nll = caption_nll(outputs["logits"], targets, mask)
        return self.losses_of(nll, outputs, targets, mask, inputs)

    def losses_of(self, nll, outputs, targets, mask, inputs) -> Losses:
        """Returns the losses of equation 14.

        Args:
            nll: `caption_nll`, `(N, K)`.
            outputs: The captioner's.
            targets: `(N, K, T)` int.
            mask: `(N, K, T)`, true where a word (or the end token) is.
            inputs: Those of a batch.
        """
        penalty = self.regularizer(outputs["attention"], mask)
        if "coverage" in inputs:
            penalty = penalty + self.supervision(
                outputs["attention"], inputs["coverage"]
            )
        if self.label_smoothing:
            penalty = penalty + self.label_smoothing * smoothing(
                outputs["logits"], targets, mask
            )
        real = ops.cast(ops.any(mask, axis=-1), "float32")
        captions = ops.maximum(replica_sum(ops.sum(real)), 1)
        loss = ops.sum((nll + penalty) * real) / captions
        words = ops.sum(ops.cast(mask, "float32"))
        return Losses(loss, ops.sum(nll), words)

    @property
    def random_generators(self):
        """See `Objective`."""
        if not self.scheduled_sampling:
            return []
        return [(generator, 1) for generator in self._seeds]


def caption_nll(logits, targets, mask):
    """Returns `-sum_t log p(y_t)` of each caption, `(...)`, in float32.

    Args:
        logits: `(..., T, V)`.
        targets: `(..., T)` int.
        mask: `(..., T)`, true where a word (or the end token) is.
    """
    nll = keras.losses.sparse_categorical_crossentropy(
        targets, ops.cast(logits, "float32"), from_logits=True
    )
    return ops.sum(nll * ops.cast(mask, "float32"), axis=-1)


def smoothing(logits, targets, mask):
    """Returns what a label smoothing of one adds to `caption_nll`, `(...)`.

    Label smoothing (Szegedy et al. 2016, section 7) takes a share `e` of each
    target's probability and spreads it evenly over all words. As every
    `-log p` is the same normaliser less a logit `z`,

        (1 - e) nll(y) + e mean_v nll(v) = nll(y) + e (z_y - mean_v z_v)

    The mean is over the words that can be a target, the end among them, but
    neither padding nor start. The arguments are those of `caption_nll`.
    """
    logits = ops.cast(logits, "float32")
    size = logits.shape[-1]
    # A product, which is one pass over the logits, where a slice is two.
    share = ops.cast(ops.arange(size) >= END, "float32") / (size - END)
    mean = ops.matmul(logits, share)  # (..., T)
    target = ops.take_along_axis(logits, ops.expand_dims(targets, -1), axis=-1)
    excess = target[..., 0] - mean
    return ops.sum(excess * ops.cast(mask, "float32"), axis=-1)
