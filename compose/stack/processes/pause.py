"""Processes that stand still for a while."""

import os
import signal
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress

import psutil


def trees(roots: Iterable[int]) -> list[int]:
    """Processes and all their descendants, parents before their children."""
    children: dict[int, list[int]] = {}
    for process in psutil.process_iter(["ppid"]):
        children.setdefault(process.info["ppid"], []).append(process.pid)
    found = list(roots)
    for pid in found:  # it grows meanwhile
        found += children.get(pid, [])
    return found


@contextmanager
def paused(roots: Sequence[int]) -> Iterator[None]:
    """Freeze processes and their descendants.

    They still take what they are sent, and answer when they go on.
    """
    frozen: list[int] = []
    try:
        # A process that is not frozen yet may start another.
        while new := [pid for pid in trees(roots) if pid not in frozen]:
            frozen += new
            _send(new, signal.SIGSTOP)
        yield
    finally:
        _send(frozen, signal.SIGCONT)


def resume(roots: Iterable[int]) -> None:
    """Let processes and their descendants go on, which somebody may have left frozen."""
    _send(trees(roots), signal.SIGCONT)


def _send(pids: Iterable[int], number: signal.Signals) -> None:
    for pid in pids:
        with suppress(ProcessLookupError):  # it has ended meanwhile
            os.kill(pid, number)
