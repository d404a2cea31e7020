"""What a load cost: CPU seconds by tier, from the operating system's own accounting.

A tier is a process, its descendants, and those of them that have come and gone: PostgreSQL starts
one process per connection, and a checkpoint that connects for every request leaves thousands of
them behind. A parent's record includes the children it has buried. Not so on macOS, where what
ended between two readings is missing: the database of 01 to 03 looks cheap there.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import psutil

Pids = Mapping[str, Sequence[int]]


@dataclass(frozen=True)
class Reading:
    """The meters at one moment, in seconds."""

    at: float
    tiers: dict[str, float]
    ours: float
    """What this process used: it measures, and is no tier."""
    machine: float
    """What everybody on the machine used, and what its host kept from it."""


@dataclass(frozen=True)
class Spent:
    """What happened between two readings."""

    tiers: dict[str, float]
    foreign_share: float
    """The part of the machine's CPU time that went to programs that are no part of this."""


def read(pids: Pids) -> Reading:
    """Read all meters; `pids` names the root processes of each tier."""
    return Reading(
        at=time.perf_counter(),
        tiers={tier: sum(map(tree_seconds, roots)) for tier, roots in pids.items()},
        ours=time.process_time(),
        machine=machine_seconds(),
    )


def between(before: Reading, after: Reading) -> Spent:
    """What was spent from one reading to the next."""
    tiers = {tier: used - before.tiers[tier] for tier, used in after.tiers.items()}
    known = sum(tiers.values()) + after.ours - before.ours
    foreign = after.machine - before.machine - known
    capacity = (after.at - before.at) * (os.cpu_count() or 1)
    return Spent(tiers, max(0.0, foreign / capacity))


def tree_seconds(root: int) -> float:
    """CPU seconds of a process, its descendants, and those they have buried."""
    process = psutil.Process(root)
    while True:
        buried = buried_seconds(process)
        total = 0.0
        # Children first: one that ends before it is read is then in its parent's record.
        for member in [*reversed(process.children(recursive=True)), process]:
            with suppress(psutil.NoSuchProcess, OSError):
                total += process_seconds(member)
        # One that was buried after it was read is there, too, and would be counted twice.
        if buried_seconds(process) == buried:
            return total


def process_seconds(process: psutil.Process) -> float:
    """CPU seconds of a process and of the children it has buried."""
    if sys.platform == "linux":
        # /proc rounds down to hundredths, too coarse for a database of ten processes over half a
        # second. The process's CPU clock has nanoseconds; its id is the kernel's, computed as
        # clock_getcpuclockid(3) does.
        return time.clock_gettime((~process.pid << 3) | 2) + buried_seconds(process)
    times = process.cpu_times()
    return times.user + times.system


def buried_seconds(process: psutil.Process) -> float:
    """CPU seconds of the children it has buried; macOS does not tell."""
    times = process.cpu_times()
    return times.children_user + times.children_system if sys.platform == "linux" else 0.0


def machine_seconds() -> float:
    """CPU seconds used or stolen since boot, without the kernel's interrupt work.

    Interrupts carry the load's own packets and belong to nobody; they are not foreign.
    """
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + getattr(times, "steal", 0.0))
