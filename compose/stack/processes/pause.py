"""Processes that stand still for a while."""

import os
import signal
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

Children = Mapping[int, Sequence[int]]
"""The children of each process that has any."""


def trees(roots: Iterable[int], children: Children | None = None) -> list[int]:
    """Processes and all their descendants, parents before their children.

    Args:
        roots: the processes.
        children: those of all processes, for a caller that has just read them.
    """
    children = children or all_children()
    found = list(roots)
    for pid in found:  # it grows meanwhile
        found += children.get(pid, [])
    return found


def all_children() -> Children:
    """The children of every process that runs now: one look at the whole process table."""
    children: dict[int, list[int]] = {}
    for pid in psutil.pids():
        with suppress(OSError, psutil.Error):  # it has ended meanwhile
            children.setdefault(_parent(pid), []).append(pid)
    return children


def _parent(pid: int) -> int:
    if sys.platform == "linux":  # psutil reads several files for it, of every process
        status = Path(f"/proc/{pid}/stat").read_bytes()
        return int(status.rpartition(b")")[2].split()[1])  # a name may have brackets and blanks
    return psutil.Process(pid).ppid()


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
