"""The cache: annotations extracted once, then read from disk."""
