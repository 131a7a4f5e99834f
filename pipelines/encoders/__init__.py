"""Encoders by name: from images to annotations."""
