"""A trace drawn as a tree: which service did what for one request, when, and for how long."""

from collections import defaultdict
from collections.abc import Iterator, Sequence

from stack.stubs.spans import Span

MAX_ATTRIBUTES = 4
"""Attributes shown of each span."""
MAX_LENGTH = 60
"""Characters shown of each attribute."""
MS = 1_000_000
"""Nanoseconds in a millisecond."""


def draw(spans: Sequence[Span]) -> str:
    """The spans of one trace, one a line, each below its parent.

    A span whose parent was never received is the root of a tree of its own.
    """
    began, ended = min(span.start for span in spans), max(span.end for span in spans)
    failed = sum(span.status == "error" for span in spans)
    errors = f", {failed} failed" if failed else ""
    counted = f"{len(spans)} span{'s' * (len(spans) > 1)}{errors}"
    lines = [f"trace {spans[0].trace_id}: {(ended - began) / MS:.1f} ms, {counted}"]
    walked = list(walk(spans))
    services = max((len(span.service) for span, _ in walked), default=0)
    names = max((len(branch + span.name) for span, branch in walked), default=0)
    lines.append(f"{'at ms':>10}{'took ms':>10}")
    for span, branch in walked:
        at, took = (span.start - began) / MS, (span.end - span.start) / MS
        label = f"{span.service:<{services}}  {branch + span.name:<{names}}"
        lines.append(f"{at:>10.1f}{took:>10.1f}  {label}  {describe(span)}".rstrip())
    return "\n".join(lines)


def walk(spans: Sequence[Span]) -> Iterator[tuple[Span, str]]:
    """Every span with the branches before its name, parents first, then by time.

    Spans that are each other's parents have no root, and are left out.
    """
    ids = {span.span_id for span in spans}
    below: dict[str, list[Span]] = defaultdict(list)
    for span in sorted(spans, key=lambda span: span.start, reverse=True):
        below[span.parent_id if span.parent_id in ids else ""].append(span)
    waiting = [(span, "", "") for span in below[""]]
    while waiting:
        span, branch, trunk = waiting.pop()
        yield span, branch
        fork, line = "└ ", "  "  # the latest child, which is stacked first
        for child in below[span.span_id]:
            waiting.append((child, trunk + fork, trunk + line))
            fork, line = "├ ", "│ "


def describe(span: Span) -> str:
    """A span's error, if it failed, and its first attributes."""
    parts = [f"FAILED {span.message}".rstrip()] if span.status == "error" else []
    for name, value in list(span.attributes.items())[:MAX_ATTRIBUTES]:
        text = " ".join(str(value).split())
        parts.append(f"{name}={text if len(text) <= MAX_LENGTH else text[: MAX_LENGTH - 1] + '…'}")
    return "  ".join(parts)
