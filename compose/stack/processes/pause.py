"""Processes that stand still for a while."""

import os
import signal
from collections.abc import Iterator, Sequence
from contextlib import contextmanager


@contextmanager
def paused(pids: Sequence[int]) -> Iterator[None]:
    """Freeze processes: they still take what they are sent, and answer when they go on."""
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)
