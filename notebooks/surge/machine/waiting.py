"""Waiting for what will be so: in instruments, tests and notebooks."""

import time
from collections.abc import Callable

from stack.errors import StackError

PATIENCE = 60.0


def wait_until(done: Callable[[], bool], what: str) -> None:
    """Ask again and again.

    Raises:
        StackError: it took too long.
    """
    deadline = time.monotonic() + PATIENCE
    while not done():
        if time.monotonic() > deadline:
            raise StackError(f"Waited {PATIENCE:.0f} s for {what}, in vain.")
        time.sleep(0.01)
