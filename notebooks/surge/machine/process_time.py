"""The CPU time of processes, from the operating system's own accounting.

On Linux the CPU time of a dead child is added to its parent's record when the parent reaps it
(waits for it). macOS has no such record, so processes that end between two readings are missing
there: the database of 01 to 03 looks cheap.
"""

import sys
import time
from contextlib import suppress

import psutil

from stack.processes.pause import Children, trees


def tree_seconds(root: int, children: Children | None = None) -> float:
    """CPU seconds of a process, its descendants, and the children that they have reaped.

    Nothing once it has ended: then its parent has the record.

    Args:
        root: the process.
        children: those of all processes, for a caller that has just read them.
    """
    with suppress(psutil.NoSuchProcess):
        return _tree_seconds(psutil.Process(root), children)
    return 0.0


def _tree_seconds(process: psutil.Process, children: Children | None) -> float:
    while True:
        reaped = reaped_seconds(process)
        total = 0.0
        # Children first: one that ends before it is read is then in its parent's record.
        for pid in reversed(trees([process.pid], children)):
            with suppress(psutil.NoSuchProcess, OSError):
                total += process_seconds(psutil.Process(pid))
        if reaped_seconds(process) == reaped:
            return total
        # A child that was read and then reaped is counted twice: read everything again.
        children = None


def process_seconds(process: psutil.Process) -> float:
    """CPU seconds of a process and of the children it has reaped."""
    if sys.platform == "linux":
        return clock_seconds(process.pid) + reaped_seconds(process)
    times = process.cpu_times()
    return times.user + times.system


def clock_seconds(pid: int) -> float:
    """CPU seconds of a process by its CPU clock (Linux only).

    /proc rounds down to hundredths, too coarse for a database of ten processes over half a second.
    The clock has nanoseconds; its id is the kernel's, computed as clock_getcpuclockid(3) does.

    Raises:
        OSError: there is no such process.
    """
    return time.clock_gettime((~pid << 3) | 2)


def reaped_seconds(process: psutil.Process) -> float:
    """CPU seconds of the children it has reaped; 0 on macOS, which does not record them."""
    times = process.cpu_times()
    return times.children_user + times.children_system if sys.platform == "linux" else 0.0


def all_clocks() -> dict[int, float]:
    """CPU seconds of every process that runs now, by its id (Linux only)."""
    clocks = {}
    for pid in psutil.pids():
        with suppress(OSError):  # it has ended meanwhile
            clocks[pid] = clock_seconds(pid)
    return clocks
