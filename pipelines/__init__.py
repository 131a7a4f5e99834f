"""Everything up to a batch: images, captions, annotations, records."""

import os

# Before TensorFlow and Keras are imported: only what a user can act on is
# told, and Keras runs on TensorFlow. Set either variable to choose otherwise.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("KERAS_BACKEND", "tensorflow")
