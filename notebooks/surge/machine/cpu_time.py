"""What a load cost: CPU seconds by tier, from the operating system's own accounting.

A tier is some processes and their descendants, the dead ones included: PostgreSQL starts one
process for each connection, and a checkpoint that connects for every request leaves thousands of
them behind. On Linux the CPU time of a dead child is added to its parent's record when the parent
reaps it (waits for it). macOS has no such record, so processes that end between two readings are
missing there: the database of 01 to 03 looks cheap.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

Pids = Mapping[str, Sequence[int]]
"""The root processes of each tier."""


@dataclass(frozen=True)
class Reading:
    """The meters at one moment, in seconds."""

    at: float
    tiers: dict[str, float]
    ours: float
    """CPU time of this process, which measures and belongs to no tier."""
    machine: float
    """CPU time of all processes, and what the machine's host has kept from it (steal)."""


@dataclass(frozen=True)
class CpuTime:
    """What was used between two readings."""

    tiers: dict[str, float]
    """CPU seconds."""
    foreign_share: float
    """The part of the machine's CPU time that went to other programs."""


def read(pids: Pids) -> Reading:
    """Read all meters."""
    return Reading(
        at=time.perf_counter(),
        tiers={tier: sum(map(tree_seconds, roots)) for tier, roots in pids.items()},
        ours=time.process_time(),
        machine=machine_seconds(),
    )


def between(before: Reading, after: Reading) -> CpuTime:
    """What was used from one reading to the next."""
    tiers = {tier: seconds - before.tiers[tier] for tier, seconds in after.tiers.items()}
    known = sum(tiers.values()) + after.ours - before.ours
    foreign = after.machine - before.machine - known
    capacity = (after.at - before.at) * (os.cpu_count() or 1)
    return CpuTime(tiers, max(0.0, foreign / capacity))


def tree_seconds(root: int) -> float:
    """CPU seconds of a process, its descendants, and the children that they have reaped."""
    process = psutil.Process(root)
    while True:
        reaped = reaped_seconds(process)
        total = 0.0
        # Children first: one that ends before it is read is then in its parent's record.
        for member in [*reversed(process.children(recursive=True)), process]:
            with suppress(psutil.NoSuchProcess, OSError):
                total += process_seconds(member)
        # A child that was read and then reaped is counted twice: read everything again.
        if reaped_seconds(process) == reaped:
            return total


def process_seconds(process: psutil.Process) -> float:
    """CPU seconds of a process and of the children it has reaped."""
    if sys.platform == "linux":
        # /proc rounds down to hundredths, too coarse for a database of ten processes over half a
        # second. The process's CPU clock has nanoseconds; its id is the kernel's, computed as
        # clock_getcpuclockid(3) does.
        return time.clock_gettime((~process.pid << 3) | 2) + reaped_seconds(process)
    times = process.cpu_times()
    return times.user + times.system


def reaped_seconds(process: psutil.Process) -> float:
    """CPU seconds of the children it has reaped; 0 on macOS, which does not record them."""
    times = process.cpu_times()
    return times.children_user + times.children_system if sys.platform == "linux" else 0.0


def machine_seconds() -> float:
    """CPU seconds used or stolen since boot, without the kernel's interrupt work.

    Interrupts carry the load's own packets, so they are not foreign.
    """
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + getattr(times, "steal", 0.0))
