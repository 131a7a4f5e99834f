"""Several captioners that say one caption."""

from collections.abc import Sequence

import numpy as np
from keras import ops

from show_attend_tell.model import Captioner


class Ensemble:
    """Captioners whose probabilities are averaged at every word.

        p(y_t | y_1 .. y_(t-1)) = 1 / M  sum_m p_m(y_t | y_1 .. y_(t-1))

    `decode` takes it as it takes a `Captioner`. Each member attends by
    itself; the attention and the gate that are told are their means.

    Args:
        members: M captioners that know the same words, and were trained on
            the same annotations.
    """

    def __init__(self, members: Sequence[Captioner]):
        self.members = tuple(members)
        digests = {member.vocabulary_digest for member in self.members}
        if len(digests) != 1:
            raise ValueError(
                "An ensemble has one member or more, all with the same "
                f"words. Received: members={self.members}, with "
                f"vocabulary_digest={sorted(digests)}"
            )

    @property
    def vocabulary_size(self) -> int:
        """V, how many words it knows, special ones included."""
        return self.members[0].vocabulary_size

    def grid(self, given: tuple[int, int]) -> tuple[int, int]:
        """Returns rows and columns of the attention; see `Captioner.grid`."""
        return self.members[0].grid(given)

    def begin(self, annotations):
        """Starts captions.

        Args:
            annotations: `(N, L, D)`, as the encoder gave them.

        Returns:
            The members' states; the first one's scaled annotations; and
            under the name of keys what `step` needs of each.
        """
        begun = [member.begin(annotations) for member in self.members]
        states, scaled, keys = zip(*begun, strict=True)
        return states, scaled[0], tuple(zip(scaled, keys, strict=True))

    def step(self, token, state, annotations, keys, context_weights=None):
        """Takes one step of each caption; see `Captioner.step`.

        Returns:
            The logarithm of the mean probability of the next word `(N, [K,]
            V)`, float32; the next states; the mean attention `(N, [K,] L)`;
            and the mean gate, over its depth as well, `(N, [K,] 1)`.
        """
        steps = [
            member.step(token, own, *known, context_weights)
            for member, own, known in zip(
                self.members, state, keys, strict=True
            )
        ]
        logits, states, attentions, gates = zip(*steps, strict=True)
        log_p = [
            ops.log_softmax(ops.cast(one, "float32"), axis=-1) for one in logits
        ]
        together = ops.logsumexp(ops.stack(log_p), axis=0)
        gates = [ops.mean(gate, axis=-1, keepdims=True) for gate in gates]
        return (
            together - np.log(len(self.members)),
            states,
            sum(attentions) / len(attentions),
            sum(gates) / len(gates),
        )
