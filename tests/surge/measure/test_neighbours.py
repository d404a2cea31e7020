"""Reads and reports side by side: the table names every failure, too."""

from array import array
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from stack.errors import StackError
from surge.load.plan import Plan, Result
from surge.measure import neighbours

MS = 1_000_000
GOOD = Result(1.0, 100.0, {200: 100}, {}, 0, 16, array("q", [2 * MS] * 100), {}, 0.1)


class FakeGenerator:
    """Answers a steady load as the test says, and what comes before it well."""

    met: dict[str, Result | StackError]

    def __enter__(self) -> "FakeGenerator":
        return self

    def __exit__(self, *_: object) -> None: ...

    def run(self, plan: Plan) -> Result:
        found = self.met.get(plan.workload, GOOD) if plan.rate else GOOD
        if isinstance(found, StackError):
            raise found
        return found


def looks(monkeypatch: pytest.MonkeyPatch, **met: Result | StackError) -> list[str]:
    """A second of looks beside 2.5 reports a second, in a shop where no report is made."""
    monkeypatch.setattr(FakeGenerator, "met", met, raising=False)
    monkeypatch.setattr(neighbours, "LoadGenerator", FakeGenerator)
    made = iter([0, 2, 2])
    shop: Any = SimpleNamespace(
        system=SimpleNamespace(urls=[], size="tiny", pids=dict), sql=lambda _: [[next(made)]]
    )
    return neighbours.looks(shop, 200, 2.5, 1)


def test_failed_reads_count_as_the_longest(monkeypatch: pytest.MonkeyPatch) -> None:
    waits = array("q", [2 * MS] * 98)
    found = looks(monkeypatch, hot=replace(GOOD, latencies=waits, errors={"timeout": 2}))
    assert found[:3] == ["2", "2 failed", "2 failed"]


def test_reports_asked_for_are_counted_with_their_failures(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    two = replace(GOOD, latencies=array("q", [MS]), errors={"status 503": 1})
    assert looks(monkeypatch, reports=two)[3] == "2, 1 failed"


def test_a_load_generator_that_fails_fails_the_measurement(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(StackError, match="generator ended"):
        looks(monkeypatch, reports=StackError("The load generator ended before its result."))
