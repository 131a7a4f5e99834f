"""Captions of photos, wherever the model runs."""
