"""Show, Attend and Tell: everything from a batch on."""

import pipelines as pipelines  # First: it quiets TensorFlow.
