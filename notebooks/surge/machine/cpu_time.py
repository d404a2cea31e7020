"""What a load cost: CPU seconds by tier, and the machine's whole account beside them.

A tier is some processes and their descendants, the dead ones included: PostgreSQL starts one
process for each connection, and a checkpoint that connects for every request leaves thousands of
them behind.

The account must balance. The machine says how long its processors were idle; what is left went to
the tiers, to this process, to processes that are foreign to the run, or to the machine's host
(steal). What no process accounts for is unexplained, and its sign is kept: a service that gets work
done by processes that nobody can see shows up there.
"""

import gzip
import os
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil

from stack.processes.pause import all_children, trees
from surge.machine.process_time import all_clocks, tree_seconds

Pids = Mapping[str, Sequence[int]]
"""The root processes of each tier."""
KERNEL_CONFIGURATIONS = ("/proc/config.gz", f"/boot/config-{platform.release()}")


@dataclass(frozen=True)
class Reading:
    """The meters at one moment, in seconds."""

    at: float
    tiers: dict[str, float]
    ours: float
    """CPU time of this process, which measures and belongs to no tier."""
    known: frozenset[int]
    """The processes of the tiers, and this one."""
    clocks: dict[int, float] | None
    """CPU time of every process; None on macOS, which does not show those of other users."""
    idle: float
    """Of all cores together, as are the next two."""
    stolen: float
    """What the machine's host has kept from it."""
    interrupts: float


@dataclass(frozen=True)
class CpuTime:
    """What was used between two readings."""

    capacity: float
    """CPU seconds that the machine had: all its cores, from one reading to the next."""
    tiers: dict[str, float]
    """CPU seconds, as are the rest."""
    ours: float
    foreign: float
    """Processes that are in no tier, and what the host has stolen."""
    idle: float
    unexplained: float
    """What is missing, or with a minus too much, in the sum of the others."""


def read(pids: Pids) -> Reading:
    """Read all meters."""
    roots = [root for tier in pids.values() for root in tier]
    machine = psutil.cpu_times()
    children = all_children()
    return Reading(
        at=time.perf_counter(),
        tiers={
            tier: sum(tree_seconds(root, children) for root in roots)
            for tier, roots in pids.items()
        },
        ours=time.process_time(),
        known=frozenset([os.getpid(), *trees(roots)]),
        clocks=all_clocks() if sys.platform == "linux" else None,
        idle=machine.idle + getattr(machine, "iowait", 0.0),
        stolen=getattr(machine, "steal", 0.0),
        interrupts=getattr(machine, "irq", 0.0) + getattr(machine, "softirq", 0.0),
    )


def between(before: Reading, after: Reading) -> CpuTime:
    """What was used from one reading to the next."""
    capacity = (after.at - before.at) * (os.cpu_count() or 1)
    tiers = {tier: seconds - before.tiers[tier] for tier, seconds in after.tiers.items()}
    ours, idle = after.ours - before.ours, after.idle - before.idle
    stolen, interrupts = after.stolen - before.stolen, after.interrupts - before.interrupts
    left = capacity - idle - stolen - sum(tiers.values()) - ours
    if before.clocks is None or after.clocks is None:
        return CpuTime(capacity, tiers, ours, left + stolen, idle, unexplained=0.0)
    others = sum(
        seconds - before.clocks.get(pid, 0.0)
        for pid, seconds in after.clocks.items()
        if pid not in after.known
    )
    left -= others
    # Some kernels count interrupts, such as the load's own packets, in no process at all.
    match interrupts_are_apart():
        case True:
            left -= interrupts
        case None:
            left = min(left, left - interrupts, key=abs)
    return CpuTime(capacity, tiers, ours, others + stolen, idle, left)


@cache
def interrupts_are_apart() -> bool | None:
    """Whether the kernel keeps interrupts out of the processes' time; None if it does not say."""
    for path in KERNEL_CONFIGURATIONS:
        with suppress(OSError):
            content = Path(path).read_bytes()
            text = gzip.decompress(content) if path.endswith(".gz") else content
            return b"\nCONFIG_IRQ_TIME_ACCOUNTING=y\n" in text
    return None
