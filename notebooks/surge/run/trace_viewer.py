"""`surge up` shows the traces of what its reader asks for, each when all of it has come."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console

from stack.stubs.client import fetch, port_of
from stack.system import System

EAGER = {"NGINX_TRACE_SHARE": "100%", "OTEL_BSP_SCHEDULE_DELAY": "500"}
"""Who tries things out wants to see every trace, and soon: spans are sent twice a second."""
QUIET = 1.0
"""Seconds without a new span after which a trace is whole; and at most one is shown in so many."""
STALE = 5.0
"""Seconds after which it is shown no more: a crowd makes more traces than anybody can read."""


@contextmanager
def following(system: System, console: Console) -> Iterator[None]:
    """Say where traces and metrics are, and show traces meanwhile; for a system that has them."""
    if not system.traces_url:
        yield
        return
    instances = [f"{url}/metrics" for url in system.urls]
    console.print(f"Traces: {system.traces_url}, and here as they come.")
    console.print(f"Metrics: {', '.join(instances + system.workers.metrics)}", soft_wrap=True)
    over, follower = Event(), Follower(system.traces_url, console)

    def follow() -> None:
        while not over.wait(QUIET):
            follower.look()

    thread = Thread(target=follow)
    try:
        thread.start()  # a Ctrl-C may come while it begins, and must end it, too
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join()


class Follower:
    """Shows traces that it has not shown yet; not those from before its time.

    Args:
        url: where the receiver is.
        console: where to show them.
    """

    def __init__(self, url: str, console: Console) -> None:
        self.port = port_of(url)
        self.console = console
        self.shown = self._spans()

    def look(self) -> None:
        """Show the first trace that is whole; one that has grown since it was shown, once more."""
        spans = self._spans(QUIET, STALE)
        for trace_id in reversed(spans):
            if self.shown.get(trace_id) != spans[trace_id]:
                self.shown[trace_id] = spans[trace_id]
                tree = fetch(self.port, f"/traces/{trace_id}")[1].decode()
                self.console.print(tree, markup=False, highlight=False, soft_wrap=True)
                return

    def _spans(self, least: float = 0.0, most: float = float("inf")) -> dict[str, int]:
        """How many spans there are of the traces that have been quiet for so long, newest first."""
        kept = json.loads(fetch(self.port, "/traces")[1] or "[]")
        return {
            trace["trace_id"]: trace["spans"]
            for trace in kept
            if least <= trace["quiet_seconds"] < most
        }
