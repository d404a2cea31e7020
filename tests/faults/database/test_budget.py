"""A service that could ask for more connections than there are says so when it starts."""

import re
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack

import httpx2
import psycopg
import pytest
from steps import each, introduced_in, run_program, without_worker

from stack.checkpoint import Checkpoint
from stack.errors import StackError
from stack.system import System
from surge.count.sql import StatementStats

BUDGETED = introduced_in("workers")


@each(BUDGETED)
def test_budget_error_names_a_pool_size_that_fits(step: Checkpoint) -> None:
    with pytest.raises(StackError) as refused, System(step, size="tiny", max_connections=40):
        pass
    said = str(refused.value)
    assert "2 processes x 20 connections + 7 for workers + 5 for others" in said
    assert "more than the 40" in said
    assert "Traceback" not in said
    cure = re.search(r"POOL_SIZE to (\d+)", said)
    assert cure
    fits = {"POOL_SIZE": cure[1]}
    with System(step, size="tiny", max_connections=40, environment=fits) as system:
        assert len(system.service.processes()) > 1
    more = {"POOL_SIZE": str(int(cure[1]) + 1)}
    with (
        pytest.raises(StackError, match=f"Set POOL_SIZE to {cure[1]}"),
        System(step, size="tiny", max_connections=40, environment=more),
    ):
        pass


@each(BUDGETED)
def test_budget_error_advises_fewer_processes_where_no_pool_fits(step: Checkpoint) -> None:
    with (
        pytest.raises(StackError, match="Run fewer processes, or raise max_connections"),
        System(step, size="tiny", max_connections=12),
    ):
        pass


def fill(url: str, taken: ExitStack) -> None:
    """Take a connection after the other."""
    while True:
        taken.enter_context(psycopg.connect(url))


@each(BUDGETED)
def test_budget_check_passes_while_postgres_is_full(step: Checkpoint) -> None:
    """The same holds for one that has just been started and is not ready."""
    with (
        without_worker(step, {"POOL_SIZE": "1"}, max_connections=30) as system,
        ExitStack() as taken,
    ):
        with pytest.raises(psycopg.OperationalError):
            fill(system.database_url, taken)
        run_program(step, "check_budget.py", DATABASE_URL=system.database_url)


@each(introduced_in("resilient"))
def test_readiness_checks_share_few_connections(step: Checkpoint) -> None:
    with (
        without_worker(step) as system,
        httpx2.Client(base_url=system.urls[0], timeout=30) as client,
        ThreadPoolExecutor(20) as crowd,
        StatementStats(system) as sql,
    ):
        time.sleep(1.1)  # until what was seen at the start is old
        asked = crowd.map(client.get, ["/readyz"] * 200)
        assert {answer.status_code for answer in asked} == {200}
        system.service.stop_all()
        connections, _ = sql.sessions_and_scanned_rows()
    assert 0 < connections < 20
