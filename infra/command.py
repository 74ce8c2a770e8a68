"""The error that a command reports to the person who ran it."""


class CommandError(Exception):
    """What went wrong and what to do about it, in a line or two."""
