"""Captions of a split, their scores, and the report on them."""
