"""The one error that a user can mend."""


class UserError(ValueError):
    """What the user gave cannot be used; the message says how to mend it.

    Commands print it without a traceback and exit with status 1.
    """
