"""Show, Attend and Tell: everything from a batch on."""

import pipelines as pipelines  # First: it quiets TensorFlow.
from show_attend_tell.inference.loading import load

__all__ = ["load"]
