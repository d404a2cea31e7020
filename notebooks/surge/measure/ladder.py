"""The climb as a whole: rows put together, one step for each checkpoint."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from stack.checkpoint import checkpoints
from surge.results.cost import shop_tiers
from surge.results.rows import ClaimRow, Comparison, Contract, Row, Tiers


@dataclass(frozen=True)
class Step:
    """A checkpoint: what was proved, what was counted, and how it compares with the step before."""

    label: str
    title: str
    change: str
    contract: Contract | None
    claims: list[ClaimRow]
    comparisons: list[Comparison]
    """With the step before, one for each workload."""

    @property
    def held(self) -> int:
        """How many of its claims hold."""
        return sum(claim.holds for claim in self.claims)


@dataclass(frozen=True)
class Point:
    """A checkpoint on one workload. The numbers belong to one machine; only ratios travel."""

    label: str
    throughput: float
    tiers: Tiers
    p99_ms: float
    step: Comparison | None
    """The comparison with the point before, if there is one."""


def steps(rows: Sequence[Row]) -> list[Step]:
    """One step for every checkpoint that a row is about, bottom first."""
    latest = newest(rows)
    labels = sorted({label for row in latest for label in _labels(row) if _number(label)})
    known = {checkpoint.label: checkpoint for checkpoint in checkpoints()}
    return [
        Step(
            label=label,
            title=known[label].title if label in known else "",
            change=known[label].change if label in known else "",
            contract=next((row for row in contracts(latest) if row.checkpoint == label), None),
            claims=[row for row in claims(latest) if row.checkpoint == label],
            comparisons=[row for row in comparisons(latest) if (row.a, row.b) == (below, label)],
        )
        for below, label in zip([None, *labels], labels, strict=False)
    ]


def points(rows: Sequence[Row], workload: str) -> list[Point]:
    """Every checkpoint measured on a workload against a neighbour, bottom first.

    A step in the middle was measured twice, against both of its neighbours. The point is the mean
    of the two. Rejected comparisons do not count, nor those at another number of connections.
    """
    found = of_neighbours(rows, workload)
    good = [row for row in found if not row.rejected and row.connections == found[-1].connections]
    labels = sorted({label for row in good for label in _labels(row)})
    return [
        _point(label, good, next((r for r in good if (r.a, r.b) == (below, label)), None))
        for below, label in zip([None, *labels], labels, strict=False)
    ]


def of_neighbours(rows: Sequence[Row], workload: str) -> list[Comparison]:
    """The comparisons of steps with the one just below them on a workload."""
    return [
        row
        for row in comparisons(newest(rows))
        if row.workload == workload and _is_between_neighbours(row)
    ]


def workloads(rows: Sequence[Row]) -> list[str]:
    """The workloads that at least two checkpoints were measured on, in order of appearance."""
    names = dict.fromkeys(row.workload for row in comparisons(newest(rows)))
    return [name for name in names if len(points(rows, name)) > 1]


def newest(rows: Sequence[Row]) -> list[Row]:
    """Only the latest row of each comparison, claim and contract, oldest first."""
    latest: dict[tuple[object, ...], Row] = {}
    for row in sorted(rows, key=lambda row: row.recorded_at):
        match row:
            case Comparison():
                key: tuple[object, ...] = (row.a, row.b, row.workload)
            case ClaimRow():
                key = (row.checkpoint, "claim", row.name)
            case Contract():
                key = (row.checkpoint, "contract")
        latest.pop(key, None)
        latest[key] = row
    return list(latest.values())


def contracts(rows: Sequence[Row]) -> list[Contract]:
    """The contract rows among these."""
    return [row for row in rows if isinstance(row, Contract)]


def claims(rows: Sequence[Row]) -> list[ClaimRow]:
    """The claims among these."""
    return [row for row in rows if isinstance(row, ClaimRow)]


def comparisons(rows: Sequence[Row]) -> list[Comparison]:
    """The comparisons among these."""
    return [row for row in rows if isinstance(row, Comparison)]


def _labels(row: Row) -> tuple[str, ...]:
    return (row.a, row.b) if isinstance(row, Comparison) else (row.checkpoint,)


def _number(label: str) -> int | None:
    """The number in a checkpoint's label; None for an experiment, whose label names its folder."""
    found = re.fullmatch(r"(\d\d) \w+", label)
    return int(found[1]) if found else None


def _is_between_neighbours(row: Comparison) -> bool:
    """Whether a step was compared with the one just below it."""
    below, above = _number(row.a), _number(row.b)
    return below is not None and above == below + 1


def _point(label: str, good: list[Comparison], step: Comparison | None) -> Point:
    mine = [(row, side) for row in good for side in ("a", "b") if getattr(row, side) == label]
    tiers = [shop_tiers(getattr(row.tiers, side)) for row, side in mine]
    return Point(
        label=label,
        throughput=fmean(getattr(row.throughput, side) for row, side in mine),
        tiers={tier: fmean(used[tier] for used in tiers) for tier in tiers[0]},
        p99_ms=fmean(getattr(row.p99_ms, side) for row, side in mine),
        step=step,
    )
