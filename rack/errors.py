"""The root of every error that this package shows to a person; its text names the object, the value and the remedy."""


class RackError(Exception):
    """Something a person can put right; shown as one line, never as a traceback."""
