"""The one error that a reader is meant to see, and remedies for the operating system's errors."""

import errno

from stack.paths import STATE


class StackError(Exception):
    """An error with a message for the reader: what happened and what to do, in a line or two."""


def remedy(error: OSError) -> str | None:
    """What to do about a full disk or a missing permission; None for any other error."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "The disk is full. Make room (3 GB is plenty) and try again."
    if error.filename and error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{error.filename} cannot be written. Is it root's? sudo chown -R $USER {STATE}"
    return None
