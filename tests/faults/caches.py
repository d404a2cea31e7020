"""What the tests of the caches share."""

import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager

from steps import teaching

from stack.checkpoint import find
from stack.system import System

CACHED = teaching("cache", "tiers", "batching")
TIERED = [step for step in CACHED if step.number >= find("tiers").number]

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
"""So many are held up by a lock that a test has taken."""


@contextmanager
def cache_stopped(system: System) -> Iterator[None]:
    """The cache server does not move: it takes what it is sent, and answers when it goes on."""
    [pid] = system.pids()["cache"]
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)
