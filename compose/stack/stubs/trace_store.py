"""The trace receiver's memory: the newest traces, each with the spans that have arrived so far."""

import time
from dataclasses import dataclass, field

from stack.stubs.spans import Span

MAX_TRACES = 1_000
MAX_SPANS = 1_000
"""Spans kept of one trace: more than anybody reads, and an endless trace cannot fill the memory."""


@dataclass
class Trace:
    """What has arrived of one trace so far."""

    spans: dict[str, Span] = field(default_factory=dict)
    updated: float = 0.0


class TraceStore:
    """The newest traces, in order of arrival, and counts of everything received."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Drop all traces and zero the counts."""
        self.traces: dict[str, Trace] = {}
        self.counts = {"traces": 0, "spans": 0, "errors": 0}

    def add(self, span: Span) -> bool:
        """Store a span; returns False if its trace is full."""
        if (trace := self.traces.get(span.trace_id)) is None:
            trace = self.traces[span.trace_id] = Trace()
            self.counts["traces"] += 1
            if len(self.traces) > MAX_TRACES:
                del self.traces[next(iter(self.traces))]
        if span.span_id in trace.spans:
            return True
        if len(trace.spans) == MAX_SPANS:
            return False
        trace.spans[span.span_id] = span
        trace.updated = time.monotonic()
        self.counts["spans"] += 1
        self.counts["errors"] += span.status == "error"
        return True

    def newest(self) -> list[tuple[str, Trace]]:
        """The stored traces, newest first."""
        return list(reversed(self.traces.items()))
