"""Captions against references: files, words, scores, intervals.

Nothing here needs TensorFlow. `metrics.evaluate_captions` is the whole of it.
"""
