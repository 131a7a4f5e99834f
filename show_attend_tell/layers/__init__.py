"""Keras layers of the captioner, usable in other models."""

from show_attend_tell.layers.attention_supervision import (
    AttentionSupervision,
)
from show_attend_tell.layers.bahdanau_attention import BahdanauAttention
from show_attend_tell.layers.decoder_outputs import (
    DecodedSequence,
    DecoderStep,
)
from show_attend_tell.layers.deep_output import DeepOutput
from show_attend_tell.layers.doubly_stochastic_regularizer import (
    DoublyStochasticRegularizer,
)
from show_attend_tell.layers.initial_state import InitialState
from show_attend_tell.layers.location_sampling import (
    AttentionSampling,
    sample_locations,
)
from show_attend_tell.layers.lstm_decoder import LSTMDecoder
from show_attend_tell.layers.lstm_decoder_cell import LSTMDecoderCell

__all__ = [
    "AttentionSampling",
    "AttentionSupervision",
    "BahdanauAttention",
    "DecodedSequence",
    "DecoderStep",
    "DeepOutput",
    "DoublyStochasticRegularizer",
    "InitialState",
    "LSTMDecoder",
    "LSTMDecoderCell",
    "sample_locations",
]
