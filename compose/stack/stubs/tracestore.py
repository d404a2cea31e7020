"""What the trace receiver keeps: the newest traces, each with the spans that have come so far."""

import time
from dataclasses import dataclass, field

from stack.stubs.spans import Span

TRACES = 1_000
SPANS = 1_000
"""Spans that are kept of one trace: nobody reads more, and one that never ends fills no memory."""


@dataclass
class Trace:
    """What has come of one trace so far."""

    spans: dict[str, Span] = field(default_factory=dict)
    touched: float = 0.0


class Store:
    """The newest traces, the oldest first, and what was counted."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Forget everything."""
        self.traces: dict[str, Trace] = {}
        self.counts = {"traces": 0, "spans": 0, "errors": 0}

    def add(self, span: Span) -> bool:
        """Keep a span; whether there was room for it."""
        if (trace := self.traces.get(span.trace_id)) is None:
            trace = self.traces[span.trace_id] = Trace()
            self.counts["traces"] += 1
            if len(self.traces) > TRACES:
                del self.traces[next(iter(self.traces))]
        if span.span_id in trace.spans:
            return True
        if len(trace.spans) == SPANS:
            return False
        trace.spans[span.span_id] = span
        trace.touched = time.monotonic()
        self.counts["spans"] += 1
        self.counts["errors"] += span.status == "error"
        return True

    def newest(self) -> list[tuple[str, Trace]]:
        """The kept ones, newest first."""
        return list(reversed(self.traces.items()))
