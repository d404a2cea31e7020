"""What shoppers ask for: named, endless, repeatable streams of requests, ready for the wire.

A workload's `connections` is how many shoppers of a comparison ask at once: enough to load the
fast checkpoints fully, few enough that the slowest answers within a slice.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from random import Random

from stack.errors import StackError
from stack.seed.data import Size
from surge.load import streams
from surge.load.http1 import Request
from surge.load.streams import Stream


@dataclass(frozen=True)
class Workload:
    """A named stream of requests, and how it is sent and judged."""

    name: str
    stream: Stream
    connections: int
    allowed: frozenset[int] = frozenset({200})
    """The statuses of good responses."""
    writes: bool = False
    """Whether it changes the data."""
    reads: bool = True
    """Whether it has requests that only look."""
    refusals: float = 0.1
    """By how much the shares of refused orders may differ: the faster side sells more of a stock
    that is the same for both, and a refusal is cheap."""

    def requests(self, size: Size, seed: int) -> Iterator[Request]:
        """The endless stream; the same seed gives the same requests."""
        return self.stream(size, Random(f"{self.name} {seed}"))  # noqa: S311 - no secret


WORKLOADS = {
    workload.name: workload
    for workload in (
        Workload("list", streams.lists, connections=4),
        Workload("zipped", streams.zipped, connections=4),
        Workload("deep", streams.deep, connections=4),
        Workload("detail", streams.detail, connections=16),
        Workload("fields", streams.fields, connections=16),
        Workload("hot", streams.hot, connections=16),
        Workload("one", streams.one, connections=16),
        Workload("changed", streams.changed, connections=16, writes=True),
        Workload("known", streams.known, connections=16, allowed=frozenset({304})),
        Workload("spellings", streams.spellings, connections=16),
        Workload("missing", streams.missing, connections=16, allowed=frozenset({404})),
        Workload("garbage", streams.garbage, connections=16, allowed=frozenset({200, 404, 422})),
        Workload("cold", streams.cold, connections=64),
        Workload(
            "some_missing", streams.some_missing, connections=16, allowed=frozenset({200, 404})
        ),
        Workload("feed", streams.feed, connections=4),
        Workload("offers", streams.offers, connections=50),
        Workload("late", streams.late, connections=16, allowed=frozenset({504})),
        Workload(
            "orders",
            streams.orders,
            connections=16,
            allowed=frozenset({201, 409}),
            writes=True,
            reads=False,
        ),
        Workload(
            "sale",
            streams.sale,
            connections=64,
            allowed=frozenset({201, 409}),
            writes=True,
            reads=False,
            refusals=0.35,  # of the first ten products, a slow checkpoint may never see the end
        ),
        Workload(
            "reports",
            streams.reports,
            connections=2,
            allowed=frozenset({202}),
            writes=True,
            reads=False,
        ),
        Workload(
            "mixed", streams.mixed, connections=16, allowed=frozenset({200, 201, 409}), writes=True
        ),
    )
}


def workload(name: str) -> Workload:
    """Find a workload.

    Raises:
        StackError: there is none of this name.
    """
    if name not in WORKLOADS:
        raise StackError(f"There is no workload {name!r}. Choose one of {', '.join(WORKLOADS)}.")
    return WORKLOADS[name]
