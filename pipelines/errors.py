"""The error that a user can mend."""


class UserError(ValueError):
    """An input that cannot be used, with a message on how to mend it.

    Commands print it without a traceback and exit with status 1.
    """
