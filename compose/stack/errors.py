"""The one error a reader is meant to see."""


class StackError(Exception):
    """What happened and what to do about it, in one or two lines for a person."""
