"""Whether two arms answer alike: before their slices and after them.

Reads are compared body by body: both arms get the same requests at once. Where a workload writes,
bodies may change from request to request, and the order in which they do is a matter of luck. So
both get the same requests once more, one after the other, and what those have read is compared when
the last of them has been answered.
"""

import time
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

from stack.stubs.client import fetch, port_of
from surge.load.loop import VARYING
from surge.load.plan import Result
from surge.load.workloads import Workload
from surge.measure.arms import Arm, Side

SETTLE_SECONDS = 6.0
"""After a write, an old copy may be served for so long: what the checkpoints declare, and one."""
FEWEST, MOST = 20, 40
"""Requests in a row of those that write."""
Arms = Mapping[Side, Arm]
SIDES: tuple[Side, Side] = ("a", "b")


def differing(
    arms: Arms, workload: Workload, seconds: float, seed: int, *, together: bool = False
) -> str | None:
    """Send both arms the same requests, on all connections; say what they answer differently.

    Paths that a workload may have changed meanwhile are left out.

    Args:
        arms: both.
        workload: what to send.
        seconds: for how long.
        seed: which requests of the workload.
        together: both at the same time; otherwise each is warmed up alone.
    """

    def read(side: Side) -> Result:
        plan = arms[side].plan(workload, seed)
        return arms[side].run(replace(plan, seconds=seconds, digest=True))

    with ThreadPoolExecutor(2 if together else 1) as pool:
        a, b = pool.map(read, SIDES)
    both = a.digests.keys() & b.digests.keys()
    if not both and workload.reads:
        return "no request of both was answered"
    for path in both:
        if VARYING in (a.digests[path], b.digests[path]):
            if workload.writes:
                continue
            return f"{path} was answered in several ways"
        if a.digests[path] != b.digests[path]:
            return f"the two answered {path} differently"
    return None


def differing_after_writes(arms: Arms, workload: Workload, count: int, seed: int) -> str | None:
    """Send both arms the same requests in a row; say what they then answer differently."""

    def write(side: Side) -> Result:
        plan = arms[side].plan(workload, seed)
        return arms[side].run(replace(plan, connections=1, count=count, digest=True))

    with ThreadPoolExecutor(2) as pool:
        paths = {path for result in pool.map(write, SIDES) for path in result.digests}
    deadline = time.monotonic() + SETTLE_SECONDS
    for path in sorted(paths):
        while not _is_same(arms, path):
            if time.monotonic() > deadline:
                return f"after the same writes, the two answer {path} differently"
            time.sleep(0.05)
    return None


def _is_same(arms: Arms, path: str) -> bool:
    one, other = (fetch(port_of(arm.system.url), path) for arm in arms.values())
    return one == other
