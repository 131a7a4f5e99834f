"""From annotations to words: greedy, beam search, sampling.

One implementation for every runtime: batched, in the graph, `keras.ops`
alone, of the kind that TensorFlow, XLA and LiteRT's builtin operations all
run. `decoder.decode` is all that others need. The settings are here, where
they cost no TensorFlow.
"""

from show_attend_tell.decoding.decoded_captions import DecodedCaptions
from show_attend_tell.decoding.settings import (
    CONTEXT_MODES,
    METHODS,
    Decoding,
    changed,
)

__all__ = ["CONTEXT_MODES", "METHODS", "DecodedCaptions", "Decoding", "changed"]
