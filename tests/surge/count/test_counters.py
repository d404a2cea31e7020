"""Counters say what a service did, exactly; here it is one that does known things."""

from pathlib import Path
from typing import Any, Self

import pytest

from stack.checkpoint import Checkpoint, Claim, read
from stack.errors import StackError
from stack.seed.data import COUNTS
from stack.system import System
from surge.count import counters, runs, servers
from surge.count.counters import claims
from surge.count.runs import Counted
from surge.count.servers import Servers

TOML = """
number = 98
name = "known"
title = "A service that does known things"
change = "none"
touches = []
shows = []
[serve]
command = ["uvicorn", "app:app", "--log-level", "warning"]
services = ["postgres", "partners"]
"""

# For every request it opens a connection, asks the catalogue as drivers do, and asks two questions;
# asks a third, without an index, on a connection that is kept; and calls a partner, of which four
# may be open at once. Every tenth request holds the loop. Nine threads sleep. Orders are refused.
APP = """
import asyncio, itertools, os, threading, time
import aiohttp, asyncpg

numbers = itertools.count(1)
four = asyncio.Semaphore(4)
client = kept = None
alone = asyncio.Lock()

for _ in range(9):
    threading.Thread(target=threading.Event().wait, daemon=True).start()

async def work(n):
    global client, kept
    client = client or aiohttp.ClientSession()
    connection = await asyncpg.connect(os.environ["DATABASE_URL"])
    await connection.fetch("SELECT oid FROM pg_catalog.pg_type LIMIT 9")
    async with connection.transaction():
        await connection.fetch("SELECT id FROM sellers ORDER BY name LIMIT 5")
        await connection.execute("SELECT 1")
    await connection.close()
    async with alone:
        kept = kept or await asyncpg.connect(os.environ["DATABASE_URL"])
        await kept.fetch("SELECT id FROM reviews WHERE author = 'nobody'")
    if n % 10 == 0:
        time.sleep(0.12)
    async with four, client.get(f"{os.environ['PARTNERS_URL']}/meridian/offers/{n}") as answer:
        await answer.read()

async def app(scope, receive, send):
    if scope["type"] != "http":
        return
    status = 200
    if scope["path"] != "/readyz":
        await work(next(numbers))
        status = 200 if scope["method"] == "GET" else 409
    headers = [(b"content-length", b"6")]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b'{"a":1}'[:6]})
"""


@pytest.fixture
def known(tmp_path: Path) -> Checkpoint:
    (tmp_path / "checkpoint.toml").write_text(TOML)
    (tmp_path / "app.py").write_text(APP)
    return read(tmp_path)


def claim(counter: str = "sql.statements", **change: Any) -> Claim:
    values = {"workload": "detail", "requests": 40, "connections": 8, "size": "tiny", **change}
    return Claim(name=f"about {counter}", counter=counter, because="chapters/x.md", **values)


def count(checkpoint: Checkpoint, claim: Claim) -> Counted:
    with Servers(checkpoint) as own:
        return runs.count(own, claim)


def test_every_counter_is_exact(known: Checkpoint) -> None:
    found = count(known, claim(partners={"latency_ms": 1})).counters
    assert found["sql.statements"] == 3
    assert found["sql.rows"] == 5 + 1 + 0
    assert found["sql.blocks"] > 0
    assert found["sql.seq_rows"] == COUNTS["tiny"].sellers + COUNTS["tiny"].reviews
    assert found["sql.sessions"] == 40 + 1
    assert found["app.threads.max"] >= 10
    assert found["partners.calls"] == 1
    assert found["partners.connections"] <= 4
    assert found["http.bytes"] == 6
    assert found["http.errors"] == 0
    assert found["loop.slow_callbacks"] == 0  # asyncio runs without its debug mode


def test_on_a_server_of_your_own_they_are_the_same(known: Checkpoint, own_server: str) -> None:
    found = count(known, claim()).counters
    assert found["sql.statements"] == 3
    assert found["sql.rows"] == 5 + 1 + 0
    assert found["sql.seq_rows"] == COUNTS["tiny"].sellers + COUNTS["tiny"].reviews
    assert found["sql.sessions"] == 40 + 1


def test_held_partners_show_how_many_calls_can_be_open_at_once(known: Checkpoint) -> None:
    held = count(known, claim("partners.in_flight.max", connections=20, partners={"hold": True}))
    assert held.value == 4
    assert held.counters["http.errors"] == 0
    assert held.counters["partners.calls"] == 1


def test_callbacks_that_block_the_loop_are_counted_by_asyncio_itself(known: Checkpoint) -> None:
    found = count(known, claim("loop.slow_callbacks"))
    assert found.value == 4
    assert found.counters["partners.in_flight.max"] == 1  # one request at a time


def test_answers_that_are_not_2xx_are_errors_even_where_they_are_allowed(
    known: Checkpoint,
) -> None:
    refused = count(known, claim("http.errors", workload="orders", requests=10))
    assert refused.value == 10


def test_claims_about_one_run_share_it_and_come_in_order(
    known: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def counting(servers: Servers, claim: Claim) -> Counted:
        asked.append(claim.counter)
        return Counted(claim, dict.fromkeys(("sql.rows", "http.bytes", "loop.slow_callbacks"), 3.0))

    monkeypatch.setattr(counters, "count", counting)
    many = known.model_copy(
        update={
            "claims": [
                claim("sql.rows", at_most=3),
                claim("sql.rows", connections=1, equals=4),
                claim("loop.slow_callbacks", at_most=5),
                claim("http.bytes", at_least=4),
            ]
        }
    )
    rows = list(claims(many))
    assert [row.counter for row in rows] == [one.counter for one in many.claims]
    assert [row.holds for row in rows] == [True, False, True, False]
    assert [row.expected for row in rows] == ["at most 3", "exactly 4", "at most 5", "at least 4"]
    assert asked == ["sql.rows", "sql.rows", "loop.slow_callbacks"]


def test_runs_share_servers_without_a_trace_of_each_other(
    known: Checkpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[str] = []

    class Noted(System):
        def __enter__(self) -> Self:
            started.append(self.environment.get("RUN", ""))
            return super().__enter__()

    monkeypatch.setattr(servers, "System", Noted)
    held = {"latency_ms": 1, "hold": True}
    first = claim(partners=held)
    writes = claim(workload="orders", partners=held, environment={"RUN": "writes"})
    again = claim(partners=held, environment={"RUN": "again"})
    with Servers(known.model_copy(update={"patience": {"RUN": "patient"}})) as shared:
        found = [runs.count(shared, one).counters for one in (first, writes, again)]
    assert started == ["patient", "writes"]
    # Threads are looked at now and then; what a backend looks up for itself are blocks, too.
    for name in found[0].keys() - {"app.threads.max", "sql.blocks"}:
        assert found[2][name] == found[0][name], name


def test_a_counter_that_does_not_exist_is_named_with_the_choices(known: Checkpoint) -> None:
    with pytest.raises(StackError, match=r"counts 'sql.queries'.*sql.statements, sql.rows"):
        _ = Counted(claim("sql.queries"), {"sql.statements": 1, "sql.rows": 1}).value
