"""Annotations, extracted once and then read from disk."""
