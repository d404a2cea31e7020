"""What the partners and the mail service counted of the service's calls."""

import time
from collections.abc import Callable

from stack.processes.pause import all_children
from stack.stubs.client import configure_partners, partner_stats
from stack.system import System
from surge.count.source import Counters, Load, Source
from surge.machine.process_time import tree_seconds
from surge.machine.waiting import wait_until

SETTLED_SECONDS = 0.5
IDLE_CPU_SECONDS = 0.02
"""A count has settled when for `SETTLED_SECONDS` it has not grown, and the service and its database
used less than `IDLE_CPU_SECONDS`."""


class PartnerCalls(Source):
    """Calls, connections and messages, as the stub that plays the partners counted them."""

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self._held: int | None = None

    def release(self, is_over: Callable[[], bool]) -> None:
        """Let held partners answer, once all calls that the service can have open are open.

        Args:
            is_over: whether the load is over, so that no more calls will come.
        """
        self._held = self._settle("max_in_flight", 1, is_over)
        configure_partners(self.system.partners_url, hold=False)

    def collect(self, load: Load) -> Counters:
        """`partners.*` and `mail.messages`; waits until the workers have done their jobs."""
        if self.system.worker:
            self._settle("messages", 0, lambda: False)
        stats = partner_stats(self.system.partners_url)
        orders = load.result.statuses.get(201, 0)
        return {
            "partners.calls": stats["calls"] / load.requests,
            "partners.in_flight.max": stats["max_in_flight"] if self._held is None else self._held,
            "partners.connections": stats["connections"],
            "mail.messages": stats["messages"] / max(orders, 1),
        }

    def _settle(self, counter: str, least: int, is_over: Callable[[], bool]) -> int:
        """Wait until a counter is at least `least` and has settled; returns its highest value."""
        most, since, before = 0, time.monotonic(), self._cpu_seconds()

        def settled() -> bool:
            nonlocal most, since, before
            now = partner_stats(self.system.partners_url)[counter]
            used = self._cpu_seconds()
            # While the service works, another call may be on its way: on a busy machine it is slow.
            if now > most or used - before > IDLE_CPU_SECONDS:
                most, since, before = max(most, now), time.monotonic(), used
            return is_over() or (most >= least and time.monotonic() - since > SETTLED_SECONDS)

        wait_until(settled, f"{counter} of the partners", SETTLED_SECONDS / 5)
        return most

    def _cpu_seconds(self) -> float:
        """CPU seconds that the service, its workers and its database have used."""
        pids, children = self.system.pids(), all_children()
        busy = [pid for tier in ("app", "worker", "database") for pid in pids.get(tier, [])]
        return sum(tree_seconds(pid, children) for pid in busy)
