"""Rows are read back as they were written, also when several runs write at once."""

import subprocess
import sys
from pathlib import Path

import pytest

from stack.errors import StackError
from surge.machine import machine
from surge.results.rows import (
    ClaimRow,
    Comparison,
    Contract,
    Interval,
    Ratios,
    Sample,
    Sides,
    record,
    rows,
)

ONE = Interval(median=2.0, low=1.5, high=2.5)
SAMPLE = Sample(
    start=0,
    pair=0,
    side="a",
    requests=100,
    errors={"timeout": 1},
    seconds=0.5,
    throughput=200.0,
    p99_ms=12.5,
    tiers={"app": 1.5, "client": 0.1},
    client_share=0.1,
    foreign_share=0.01,
)
COMPARISON = Comparison(
    a="04 pool",
    b="05 async",
    workload="detail",
    connections=16,
    effort="quick",
    ratio=Ratios(throughput=ONE, cost=ONE, p99=ONE),
    at_least=False,
    verdict="faster",
    rejected=None,
    tiers=Sides(a={"app": 1.5}, b={"app": 0.7}),
    throughput=Sides(a=200.0, b=400.0),
    p99_ms=Sides(a=12.5, b=6.0),
    samples=[SAMPLE],
)
CLAIM = ClaimRow(
    checkpoint="05 async",
    name="threads do not grow with load",
    workload="offers",
    counter="app.threads.max",
    expected="at most 8",
    value=3,
    holds=True,
    because="chapters/05-async.md#threads",
)
CONTRACT = Contract(checkpoint="05 async", passed=143, failed=0, seconds=11.2)


def test_rows_come_back_as_they_were(tmp_path: Path) -> None:
    for row in (COMPARISON, CLAIM, CONTRACT):
        record(row, tmp_path)
    assert list(rows(tmp_path)) == [CLAIM, COMPARISON, CONTRACT]


def test_rows_are_appended_never_replaced(tmp_path: Path) -> None:
    for _ in range(3):
        record(CONTRACT, tmp_path)
    assert list(rows(tmp_path)) == [CONTRACT] * 3


def test_a_folder_that_is_not_there_has_no_rows(tmp_path: Path) -> None:
    assert list(rows(tmp_path / "none")) == []


def test_two_runs_at_once_do_not_write_into_each_others_rows(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; from surge.results.rows import Contract, record\n"
        "for n in range(200):\n"
        "    record(Contract(checkpoint=sys.argv[1] * 5000, passed=n, failed=0, seconds=1.0),"
        " Path(sys.argv[2]))"
    )
    runs = [
        subprocess.Popen([sys.executable, "-c", code, name, str(tmp_path)]) for name in ("x", "y")
    ]
    assert [run.wait() for run in runs] == [0, 0]
    written = [row for row in rows(tmp_path) if isinstance(row, Contract)]
    for name in ("x", "y"):
        mine = [row.passed for row in written if row.checkpoint == name * 5000]
        assert mine == list(range(200))


def test_a_row_with_an_unknown_field_is_refused(tmp_path: Path) -> None:
    line = CONTRACT.model_dump_json().replace('"passed"', '"passing": 1, "passed"')
    (tmp_path / "contract.jsonl").write_text(line + "\n")
    with pytest.raises(StackError, match=r"line 1 is no row of ours"):
        list(rows(tmp_path))


def test_every_row_says_on_what_machine_and_when() -> None:
    here = machine.machine()
    assert CONTRACT.machine == here
    assert here.cpu
    assert here.cores >= 1
    assert here.packages.keys() >= {"fastapi", "uvicorn", "sqlalchemy"}
    assert CONTRACT.recorded_at.tzinfo is not None


def test_a_machine_without_git_has_no_commit(monkeypatch: pytest.MonkeyPatch) -> None:
    machine.commit.cache_clear()
    monkeypatch.setenv("PATH", "")
    assert machine.commit() is None
    machine.commit.cache_clear()
