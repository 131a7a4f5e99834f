"""An ensemble: averages the word probabilities of several captioners."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from show_attend_tell.model import Captioner


class Ensemble:
    """Captioners whose probabilities are averaged at every word.

        p(y_t | y_1 .. y_(t-1)) = 1 / M  sum_m p_m(y_t | y_1 .. y_(t-1))

    `decode` takes it as it takes a `Captioner`. Each member attends
    independently; the attention and the gate are the means of theirs.

    Args:
        members: M captioners with the same vocabulary, trained on the same
            annotations.
    """

    def __init__(self, members: Sequence[Captioner]):
        self.members = tuple(members)
        digests = {member.vocabulary_digest for member in self.members}
        if len(digests) != 1:
            raise ValueError(
                "Expected one member or more, all with the same vocabulary. "
                f"Received: members={self.members}, with "
                f"vocabulary_digest={sorted(digests)}"
            )

    @property
    def vocabulary_size(self) -> int:
        """V, special words included."""
        return self.members[0].vocabulary_size

    def grid(self, given: tuple[int, int]) -> tuple[int, int]:
        """Returns rows and columns of the attention; see `Captioner.grid`."""
        return self.members[0].grid(given)

    def begin(self, annotations):
        """Starts captions; the keys are each member's annotations and keys."""
        begun = [member.begin(annotations) for member in self.members]
        states, scaled, keys = zip(*begun, strict=True)
        return states, scaled[0], tuple(zip(scaled, keys, strict=True))

    def step(self, token, state, annotations, keys, context_weights=None):
        """Takes one step of each caption; see `Captioner.step`.

        Instead of logits returns the logarithm of the mean probability; the
        mean gate is over its depth as well, `(N, [K,] 1)`.
        """
        members = zip(self.members, state, keys, strict=True)
        steps = [
            member.step(token, one_state, *one_keys, context_weights)
            for member, one_state, one_keys in members
        ]
        logits, states, attentions, gates = zip(*steps, strict=True)
        log_p = [
            ops.log_softmax(ops.cast(x, "float32"), axis=-1) for x in logits
        ]
        total = ops.logsumexp(ops.stack(log_p), axis=0)
        gates = [ops.mean(gate, axis=-1, keepdims=True) for gate in gates]
        return (
            total - np.log(len(self.members)),
            states,
            sum(attentions) / len(attentions),
            sum(gates) / len(gates),
        )
