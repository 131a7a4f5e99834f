"""A split: its captions, their scores, the report."""
