"""What campaigns start from, made once for all tests."""

# A fixture is known where its name is.
from tests.show_attend_tell.conftest import device_file  # noqa: F401
