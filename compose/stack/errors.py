"""The one error a reader is meant to see, and what to do about those of the operating system."""

import errno

from stack.paths import STATE


class StackError(Exception):
    """What happened and what to do about it, in one or two lines for a person."""


def cure(error: OSError) -> str | None:
    """Give a line for a reader whose disk is full or closed to them; None for any other error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. Make room (3 GB is plenty) and try again."
    if error.filename and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename} cannot be written. Is it root's? sudo chown -R $USER {STATE}"
    return None
