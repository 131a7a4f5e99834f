"""Encoders: networks from images to annotations."""
