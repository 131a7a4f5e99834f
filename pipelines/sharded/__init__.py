"""Many images on many machines, by Apache Beam (the extra `[beam]`)."""

import importlib.util

from pipelines.errors import UserError

if importlib.util.find_spec("apache_beam") is None:
    raise UserError(
        "Expected Apache Beam. Received: none is installed. Install it: "
        "pip install 'show-attend-tell[beam]'"
    )
