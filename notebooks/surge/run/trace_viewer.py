"""`surge up` shows the traces of its reader's requests, each once all its spans have come."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

from rich.console import Console

from stack.stubs.client import fetch, port_of
from stack.system import System

TRACE_EVERYTHING = {"NGINX_TRACE_SHARE": "100%", "OTEL_BSP_SCHEDULE_DELAY": "500"}
"""Trace every request, and send the spans twice a second: a reader waits for them."""
QUIET_SECONDS = 1.0
"""A trace is complete after so long without a new span. At most one is shown in that time."""
STALE_SECONDS = 5.0
"""A trace this long without a new span is skipped: a crowd makes more than one can read."""


@contextmanager
def shown_traces(system: System, console: Console) -> Iterator[None]:
    """Print where traces and metrics are, and show traces meanwhile, if the system has any."""
    if not system.traces_url:
        yield
        return
    instances = [f"{url}/metrics" for url in system.urls]
    console.print(f"Traces: {system.traces_url}, and here as they come.")
    console.print(f"Metrics: {', '.join(instances + system.workers.metrics)}", soft_wrap=True)
    over, viewer = Event(), TraceViewer(system.traces_url, console)

    def show() -> None:
        while not over.wait(QUIET_SECONDS):
            viewer.show_next()

    thread = Thread(target=show)
    try:
        thread.start()  # inside `try`: a Ctrl-C during the start ends the thread, too
        yield
    finally:
        over.set()
        if thread.is_alive():
            thread.join()


class TraceViewer:
    """Shows each new trace; those that were there when it was made are not new.

    Args:
        url: the URL of the trace receiver.
        console: prints the traces.
    """

    def __init__(self, url: str, console: Console) -> None:
        self.port = port_of(url)
        self.console = console
        self.shown = self._span_counts()

    def show_next(self) -> None:
        """Show the oldest complete trace that is new, or has grown since it was shown."""
        spans = self._span_counts(QUIET_SECONDS, STALE_SECONDS)
        for trace_id in reversed(spans):
            if self.shown.get(trace_id) != spans[trace_id]:
                self.shown[trace_id] = spans[trace_id]
                tree = fetch(self.port, f"/traces/{trace_id}")[1].decode()
                self.console.print(tree, markup=False, highlight=False, soft_wrap=True)
                return

    def _span_counts(self, least: float = 0.0, most: float = float("inf")) -> dict[str, int]:
        """The number of spans of each trace that has been quiet for so long, newest first."""
        traces = json.loads(fetch(self.port, "/traces")[1] or "[]")
        return {
            trace["trace_id"]: trace["spans"]
            for trace in traces
            if least <= trace["quiet_seconds"] < most
        }
