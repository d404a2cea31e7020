"""The paired protocol: honest verdicts, and a reason where there is none."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from stack.checkpoint import Checkpoint, read
from stack.errors import StackError
from surge.load.workloads import WORKLOADS
from surge.measure import paired
from surge.measure.samples import Schedule
from surge.measure.verdict import compare_samples
from surge.results.rows import Account, Comparison, OpenSample, Sample, Sides

LABELS = Sides(a="04 pool", b="05 async")


def sample(side: Any, start: int, pair: int, **change: Any) -> Sample:
    values = {
        "requests": 1000,
        "errors": {},
        "seconds": 0.5,
        "throughput": 1000.0,
        "p99_ms": 10.0,
        "tiers": {"app": 2.0, "database": 1.0, "client": 0.2, "partners": 5.0},
        "client_share": 0.2,
        "foreign_share": 0.02,
    }
    return Sample(side=side, start=start, pair=pair, **{**values, **change})


def account(**parts: float) -> dict[str, Account]:
    """A full account of the machine, with these parts."""
    usual = {"tiers": 0.6, "client": 0.1, "paused": 0.0, "foreign": 0.01, "unexplained": 0.0}
    parts = {**usual, **parts}
    return {"account": Account(**parts, idle=1 - sum(parts.values()))}


def judged(
    b: dict[str, Any] | None = None, a: dict[str, Any] | None = None, doubt: str | None = None
) -> Comparison:
    samples = [
        sample(side, start, pair, **(change or {}))
        for start in range(3)
        for pair in range(4)
        for side, change in (("a", a), ("b", b))
    ]
    return compare_samples(LABELS, WORKLOADS["detail"], "quick", samples, doubt=doubt)


def test_equal_samples_cannot_be_told_apart() -> None:
    row = judged()
    assert row.ratio is not None
    assert row.ratio.throughput.median == row.ratio.cost.median == row.ratio.p99.median == 1
    assert (row.verdict, row.rejected, row.at_least) == ("cannot tell", None, False)


def test_every_ratio_is_above_one_when_b_is_better() -> None:
    row = judged(b={"throughput": 2000.0, "p99_ms": 2.5, "tiers": {"app": 1.0, "database": 0.5}})
    assert row.ratio is not None
    assert row.ratio.throughput.median == 2
    assert row.ratio.cost.median == 2
    assert row.ratio.p99.median == 4
    assert row.verdict == "faster"
    assert judged(b={"throughput": 500.0}).verdict == "slower"


def test_cost_leaves_out_the_load_generator_and_the_partners() -> None:
    tiers = {"app": 2.0, "database": 1.0, "client": 9.0, "partners": 0.1}
    row = judged(b={"tiers": tiers})
    assert row.ratio is not None
    assert row.ratio.cost.median == 1
    assert row.tiers.b == tiers


def test_a_pair_is_two_neighbours_whatever_their_order() -> None:
    samples = [
        sample(side, 0, pair, throughput=speed)
        for pair, (a, b) in enumerate([(100.0, 200.0), (1000.0, 2000.0)])
        for side, speed in (("b", b), ("a", a))
    ]
    row = compare_samples(LABELS, WORKLOADS["detail"], "quick", samples)
    assert row.ratio is not None
    assert row.ratio.throughput.low == row.ratio.throughput.high == 2


FAST: dict[str, Any] = {"throughput": 9000.0}


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (
            {"b": {**FAST, "errors": {"status 500": 3}}},
            r"36 of 12036 .* 05 async failed: 36 x stat",
        ),
        ({"b": FAST, "a": {"errors": {"timeout": 9}}}, "to 04 pool failed: 108 x timeout"),
        ({"b": FAST, "doubt": "the two answered /products/7 differently"}, "/products/7 differ"),
        ({"b": {**FAST, "foreign_share": 0.4}}, "other programs took 40% of the machine"),
        ({"b": {**FAST, "foreign_share": 0.08}}, "took 2% .* 04 pool, and 8% beside 05 async"),
        ({"b": {**FAST, **account(unexplained=0.09)}}, "accounts for 9% .* beside 05 async"),
        ({"b": {**FAST, **account(unexplained=-0.06)}}, "accounts for -6% .* beside 05 async"),
        ({"b": FAST, "a": account(paused=0.1)}, "05 async used 10% .* while 04 pool was meas"),
        ({"b": {"client_share": 0.97}}, "its own limit on 05 async"),
        ({"b": FAST, "a": {"client_share": 0.97}}, "its own limit on 04 pool"),
        ({"b": {**FAST, "client_share": 1.0}, "a": {"client_share": 1.0}}, "its own limit on 04"),
    ],
)
def test_a_failed_check_rejects_the_comparison_with_its_reason(
    change: dict[str, Any], reason: str
) -> None:
    row = judged(**change)
    assert row.verdict == "cannot tell"
    assert row.rejected is not None
    assert re.search(reason, row.rejected)


def waits(side: Any, start: int, **change: Any) -> OpenSample:
    values = {"rate": 500.0, "requests": 100, "errors": {}, "p50_ms": 4.0, "p99_ms": 9.0}
    return OpenSample(side=side, start=start, **{**values, **change})


def with_waits(**b: Any) -> Comparison:
    samples = [sample(side, start, 0) for start in range(3) for side in "ab"]
    opened = [waits("a", start) for start in range(3)] + [
        waits("b", start, **b) for start in range(3)
    ]
    return compare_samples(LABELS, WORKLOADS["detail"], "quick", samples, opened)


def test_median_waits_are_compared_start_by_start() -> None:
    row = with_waits(p50_ms=8.0)
    assert row.p50_ms == Sides(a=4.0, b=8.0)
    assert row.p50_ratio is not None
    assert row.p50_ratio.low == row.p50_ratio.high == 0.5


@pytest.mark.parametrize("requests", [0, 5])
def test_a_handful_of_waits_says_nothing(requests: int) -> None:
    row = with_waits(requests=requests)
    assert row.p50_ms is row.p50_ratio is None


def test_failures_at_a_moderate_rate_count_too() -> None:
    assert "30 x status 500" in str(with_waits(errors={"status 500": 10}).rejected)


def test_a_limited_load_generator_on_the_faster_side_leaves_a_lower_bound() -> None:
    row = judged(b={"throughput": 9000.0, "client_share": 0.97})
    assert (row.verdict, row.rejected, row.at_least) == ("faster", None, True)


def test_a_side_without_a_good_answer_has_no_ratio_but_a_reason() -> None:
    nothing = {"requests": 0, "throughput": 0.0, "p99_ms": 0.0, "errors": {"refused": 5}}
    row = judged(b=nothing)
    assert row.ratio is None
    assert row.rejected == "60 of 60 requests to 05 async failed: 60 x refused"


def test_noise_that_leaves_everything_open_is_rejected() -> None:
    speeds = [500.0, 700.0, 1400.0, 2000.0]
    samples = [
        sample(side, start, pair, throughput=speed)
        for start in range(3)
        for pair, b in enumerate(speeds)
        for side, speed in (("a", 1000.0), ("b", b))
    ]
    row = compare_samples(LABELS, WORKLOADS["detail"], "quick", samples)
    assert row.rejected is not None
    assert row.rejected.startswith("too noisy: anything from 0.")


# The rest runs the protocol itself, on a service of five lines.

APP = """
import asyncio
async def app(scope, receive, send):
    is_list = scope["path"] == "/products"
    await asyncio.sleep(0.01 if is_list else {seconds})
    await send({{"type": "http.response.start", "status": {status}}})
    await send({{"type": "http.response.body", "body": b"{body}"}})
"""
TOML = """
number = {number}
name = "{name}"
title = "A service of five lines"
change = "none"
touches = []
shows = []
[serve]
command = ["uvicorn", "app:app", "--log-level", "warning", "--lifespan", "off"]
services = []
"""
Make = Callable[..., Checkpoint]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    def checkpoint(name: str, seconds: float, body: str = "{}", status: int = 200) -> Checkpoint:
        folder = tmp_path / name
        folder.mkdir()
        number = len(list(tmp_path.iterdir()))
        (folder / "checkpoint.toml").write_text(TOML.format(number=number, name=name))
        (folder / "app.py").write_text(APP.format(seconds=seconds, status=status, body=body))
        return read(folder)

    return checkpoint


@pytest.fixture(autouse=True)
def brisk(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two starts of short slices: enough for differences made to be seen."""
    schedule = Schedule(starts=2, pairs=2, slice_seconds=0.2, warmup_seconds=0.1, open_seconds=0.1)
    monkeypatch.setitem(paired.SCHEDULES, "quick", schedule)


def test_slices_alternate_and_the_order_is_swapped_between_starts(make: Make) -> None:
    one, other = make("one", 0.01), make("other", 0.03)
    told: list[float] = []
    row = paired.compare(one, other, "detail", progress=lambda what, part: told.append(part))
    assert [(s.start, s.side) for s in row.samples] == [
        *((0, side) for side in "abba"),
        *((1, side) for side in "baab"),
    ]
    assert [s.pair for s in row.samples] == [0, 0, 1, 1] * 2
    assert (row.a, row.b, row.workload, row.connections) == ("01 one", "02 other", "detail", 16)
    assert row.tiers.a.keys() == row.tiers.b.keys() == {"app", "client"}
    assert told == sorted(told)
    if row.rejected is None:  # a machine too busy to measure may say so, but nothing else
        assert row.verdict == "slower"


def test_a_plain_difference_gets_as_many_starts_as_a_doubtful_one(make: Make) -> None:
    """Two starts miss the truth more often than the interval says."""
    assert paired.SCHEDULES["full"].starts > 3
    row = paired.compare(make("one", 0.01), make("other", 0.1), "detail")
    assert {s.start for s in row.samples} == {0, 1}
    assert {(s.start, s.side) for s in row.open_samples} == {(0, "a"), (0, "b"), (1, "a"), (1, "b")}
    assert len({s.rate for s in row.open_samples if s.start == 0}) == 1


def test_workloads_share_the_starts(make: Make) -> None:
    one = make("one", 0.01)
    first, second = paired.compare_many(one, one, ["list", "detail"])
    assert (first.workload, second.workload) == ("list", "detail")
    assert len(first.samples) == len(second.samples) == 8
    for row in (first, second):
        assert [(s.start, s.side) for s in row.samples][:4] == [(0, side) for side in "abba"]


def test_sides_that_answer_differently_are_not_compared(make: Make) -> None:
    one, other = make("one", 0.03), make("other", 0.01, body="[]")
    row = paired.compare(one, other, "detail")
    assert row.verdict == "cannot tell"
    assert row.rejected is not None
    assert re.search(r"answered /products/\d+ differently", row.rejected)


def test_a_directory_is_b_with_other_code(make: Make) -> None:
    one, other = make("one", 0.01), make("other", 0.01, body="[]")
    row = paired.compare(one, one, "detail", directory=other.directory)
    assert row.b.startswith("01 one (")
    assert "differently" in (row.rejected or "")


def test_an_unknown_workload_is_refused_before_anything_starts(make: Make) -> None:
    one = make("one", 0.01)
    with pytest.raises(StackError, match="Choose one of"):
        paired.compare(one, one, "browse")
