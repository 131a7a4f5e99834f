"""What campaigns start from, made once for all tests."""

# A fixture is known where its name is.
from tests.show_attend_tell.conftest import (  # noqa: F401
    device_file,
    exported,
    trained,
)
