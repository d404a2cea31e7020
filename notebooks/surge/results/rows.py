"""Every result is a row: one JSON line under `.surge/results`, read back as the same object.

Tables, figures and the report are made from rows and from nothing else. A row holds what was run,
the result, and the machine, so that a number can be traced and repeated.
"""

import errno
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from stack.errors import StackError
from stack.paths import ROOT, STATE
from surge.machine.machine import Machine, commit, machine

RECENT = STATE / "results"
COMMITTED = ROOT / "notebooks" / "results"

Effort = Literal["quick", "full"]
Verdict = Literal["faster", "slower", "cannot tell"]
Tiers = dict[str, float]
"""CPU milliseconds per request, by tier: client, proxy, app, worker, database, cache, partners,
traces."""

T = TypeVar("T")


class _Part(BaseModel):
    """A frozen piece of a row; unknown fields are a mistake, not an extension."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class _Recorded(_Part):
    """What every row carries: where and when it was made."""

    machine: Machine = Field(default_factory=machine)
    commit: str | None = Field(default_factory=commit)
    recorded_at: datetime = Field(default_factory=lambda: datetime.now(UTC))


class Interval(_Part):
    """A ratio with its 95 % interval; above 1 means B is better."""

    median: float
    low: float
    high: float


class Ratios(_Part):
    """B against A. Cost and p99 are turned round (A ÷ B), so above 1 is better for all three."""

    throughput: Interval
    cost: Interval
    p99: Interval


class Sides(_Part, Generic[T]):
    """The same quantity for A and for B."""

    a: T
    b: T


class Account(_Part):
    """Where the machine's CPU time went during a slice, as parts of the whole; their sum is 1."""

    tiers: float
    """This side's own processes."""
    client: float
    """The load generator, and the process that measures."""
    paused: float
    """The other side, which should have stood still."""
    foreign: float
    """Everything else that ran, and what the machine's host took (steal)."""
    idle: float
    unexplained: float
    """What no process accounts for, or with a minus what was counted twice."""


class Sample(_Part):
    """One slice: one side under load for a moment. Two slices with the same `pair` are a pair."""

    start: int
    pair: int
    side: Literal["a", "b"]
    requests: int
    """Good responses."""
    errors: dict[str, int]
    """Requests that ended badly, by kind, such as `timeout` or `status 500`."""
    seconds: float
    throughput: float
    p99_ms: float
    tiers: Tiers
    client_share: float
    """The part of one core that the load generator used."""
    foreign_share: float
    """The part of the machine that nobody of the run used; nobody's work is unexplained work."""
    account: Account | None = None
    """None in rows from before it was kept."""


class OpenSample(_Part):
    """One slice of an open loop at a moderate rate, the same for both sides of a start."""

    start: int
    side: Literal["a", "b"]
    rate: float
    """Requests a second."""
    requests: int
    """Good responses."""
    errors: dict[str, int]
    p50_ms: float
    """Counted from the moment that a request was due."""
    p99_ms: float


class Comparison(_Recorded):
    """A paired comparison of two checkpoints on one workload."""

    kind: Literal["comparison"] = "comparison"
    a: str
    b: str
    workload: str
    connections: int
    effort: Effort
    ratio: Ratios | None
    """None when a side gave no good response at all; `rejected` then names its errors."""
    at_least: bool
    """The load generator was at its limit on B: the ratio is a lower bound, shown with a ≥."""
    verdict: Verdict
    rejected: str | None
    tiers: Sides[Tiers]
    throughput: Sides[float]
    p99_ms: Sides[float]
    """At full load, where a wait says how many wait, not how good a service is."""
    samples: list[Sample]
    p50_ms: Sides[float] | None = None
    """At a moderate rate in an open loop; None in rows from before it was measured."""
    p50_ratio: Interval | None = None
    open_samples: list[OpenSample] = []


class ClaimRow(_Recorded):
    """One claim of a checkpoint, counted."""

    kind: Literal["claim"] = "claim"
    checkpoint: str
    name: str
    workload: str
    counter: str
    expected: str
    value: float
    holds: bool
    because: str


class Contract(_Recorded):
    """The contract suite, run against one checkpoint."""

    kind: Literal["contract"] = "contract"
    checkpoint: str
    passed: int
    failed: int
    seconds: float


Row = Comparison | ClaimRow | Contract
_row: TypeAdapter[Row] = TypeAdapter(Annotated[Row, Field(discriminator="kind")])


def record(row: Row, folder: Path = RECENT) -> None:
    """Append one row.

    It is one `write` to a file opened for appending, so the kernel never mixes it with a row that
    another run writes at the same time.
    """
    folder.mkdir(parents=True, exist_ok=True)
    line = row.model_dump_json().encode() + b"\n"
    file = os.open(folder / f"{row.kind}.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    try:
        if os.write(file, line) < len(line):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    finally:
        os.close(file)


def rows(folder: Path = RECENT) -> Iterator[Row]:
    """All rows of a folder, oldest first within each file.

    Raises:
        StackError: a line is not a row.
    """
    for path in sorted(folder.glob("*.jsonl")):
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                try:
                    yield _row.validate_json(line)
                except ValidationError:
                    raise StackError(
                        f"{path}, line {number} is no row of ours. Move the file away."
                    ) from None
