"""How exactly annotations are kept on disk; see `pipelines.cache.records`."""

PRECISIONS = ("sqrt8", "float16")
# Of pixels, which are neither.
EXACT = "uint8"
