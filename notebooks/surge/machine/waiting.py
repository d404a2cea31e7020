"""Waiting for a condition: in instruments, tests and notebooks."""

import time
from collections.abc import Callable

from stack.errors import StackError

TIMEOUT = 60.0
"""Seconds."""


def wait_until(done: Callable[[], bool], what: str, pause: float = 0.01) -> None:
    """Poll until a condition holds.

    Args:
        done: the condition.
        what: its name, for the error.
        pause: seconds between two polls; more where a poll is work.

    Raises:
        StackError: it still does not hold after `TIMEOUT`.
    """
    deadline = time.monotonic() + TIMEOUT
    while not done():
        if time.monotonic() > deadline:
            raise StackError(f"Waited {TIMEOUT:.0f} s for {what}, in vain.")
        time.sleep(pause)
