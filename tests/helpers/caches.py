"""What the tests of the caches share."""

import os
import signal
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager

from steps import introduced_in

from stack.checkpoint import find
from stack.system import System

CACHED = introduced_in("cache", "tiers", "batching")
TIERED = [step for step in CACHED if step.number >= find("tiers").number]

WAITING = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory' AND NOT granted"
"""So many are held up by a lock that a test has taken."""


@contextmanager
def stopped(system: System, tier: str) -> Iterator[None]:
    """A tier does not move: it takes what it is sent, and answers when it goes on."""
    pids = system.pids()[tier]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def cache_stopped(system: System) -> AbstractContextManager[None]:
    """The cache server does not move."""
    return stopped(system, "cache")
