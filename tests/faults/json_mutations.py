"""Damages JSON where it keeps its form: values, keys and their kinds."""

import copy
import json
from typing import Any

import numpy as np

# What programs do not expect; texts are put in as they are, without quotes.
_ODD = (
    "null", "true", "-1", "0", "1e400", "NaN", "1.5", '""', '" "', "[]", "{}",
    '"\\ud800"', '"\\u0000"', '"../../etc/passwd"', '"1"', "9" * 400,
    "9" * 5000, '"' + "x" * 5000 + '"', "[" * 200 + "]" * 200,
    '"=cmd|calc"', '"\\u001b[31m"', '"<script>alert(1)</script>"', '"\\u202e"',
)  # fmt: skip
# The texts of them.
TEXTS = tuple(text[1:-1] for text in _ODD if text.startswith('"'))
_MARK = "@odd@"


def _slots(value: Any, parent=None, key=None):
    """Yields the container and key of every value in another."""
    if parent is not None:
        yield parent, key
    items = ()
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    for inner, child in items:
        yield from _slots(child, value, inner)


def mutate_json(content: Any, rng: np.random.Generator) -> tuple[str, str]:
    """Returns the name of a mutation, and the text of the mutated value."""
    content, odd, name = copy.deepcopy(content), "", ""
    for _ in range(rng.integers(1, 4)):
        slots = list(_slots(content))
        if not slots:
            break
        parent, key = slots[rng.integers(len(slots))]
        operation = rng.integers(5)
        if operation < 2:
            name = "JSON value"
            odd = str(rng.choice(_ODD))
            parent[key] = _MARK
            text = json.dumps(content, ensure_ascii=False)
            return name, text.replace(json.dumps(_MARK), odd)
        if operation == 2:
            name = "JSON removal"
            del parent[key]
        elif operation == 3 and isinstance(parent, list):
            name = "JSON repeat"
            parent.insert(int(rng.integers(len(parent) + 1)), parent[key])
        elif operation == 3:
            name = "JSON key"
            parent[f"{key}_"] = parent.pop(key)
        else:
            name = "JSON swap"
            other, slot = slots[rng.integers(len(slots))]
            # A value that holds the other would hold itself.
            try:
                parent[key], other[slot] = (
                    copy.deepcopy(other[slot]), copy.deepcopy(parent[key])
                )  # fmt: skip
            except (KeyError, IndexError):
                continue
    return name, json.dumps(content, ensure_ascii=False)
