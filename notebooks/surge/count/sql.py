"""What PostgreSQL itself counted of the service's work.

The counters are read by a role of its own, whose statements and connection are not the service's.
Statements are exact as soon as they have ended. Sessions and scans are not: a backend hands those
numbers in at most once a second, or after ten idle seconds, or when it ends. Reading early gives
numbers that are stable and wrong, so they are read when the service's backends are gone.
"""

import time
from dataclasses import dataclass
from types import TracebackType
from typing import Any, LiteralString, Self
from urllib.parse import unquote, urlsplit

import psycopg

from stack.system import System
from surge.count.source import Counters, Load, Source
from surge.machine.waiting import wait_until

# A driver's look-ups in the catalogue and its settings, once per connection, are not the service's
# work. Nor are our own queries here, where the service's role is ours as well.
OF_SERVICE: LiteralString = """
    userid = %s::regrole AND toplevel
    AND dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
    AND query !~ 'pg_catalog|pg_type|current_schema|set_config|pg_stat'
"""
STATEMENTS: LiteralString = f"""
    SELECT coalesce(sum(calls), 0), coalesce(sum(rows), 0),
           coalesce(sum(shared_blks_hit + shared_blks_read), 0)
    FROM pg_stat_statements WHERE {OF_SERVICE}
"""  # noqa: S608 - both halves are ours
BACKENDS: LiteralString = """
    SELECT count(*) FROM pg_stat_activity
    WHERE usename = %s AND datname = current_database() AND pid <> pg_backend_pid()
"""
BUSY: LiteralString = f"{BACKENDS} AND state <> 'idle'"
RESET: LiteralString = """
    SELECT pg_stat_statements_reset(0, oid, 0) FROM pg_database WHERE datname = current_database()
"""
TOTALS = """
    SELECT sessions, (SELECT coalesce(sum(seq_tup_read), 0) FROM pg_stat_user_tables)
    FROM pg_stat_database WHERE datname = current_database()
"""


@dataclass(frozen=True)
class StatementTotals:
    """Totals over the service's statements."""

    calls: int
    rows: int
    blocks: int


class StatementStats(Source):
    """What the server counts of the service's role, from zero on (`pg_stat_statements`)."""

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self.url = system.instruments_url
        self.role = unquote(urlsplit(system.database_url).username or "")

    def __enter__(self) -> Self:
        self.connection = psycopg.connect(self.url, autocommit=True)
        self._wait("the service to finish its start", BUSY)
        time.sleep(0.1)  # a backend hands in its numbers some time after its client hung up
        self.connection.execute(
            "SELECT pg_stat_force_next_flush()"
        )  # our own session is not the run's
        self.connection.execute(RESET)
        self._before = self._totals()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.connection.close()

    def collect(self, load: Load) -> Counters:
        """`sql.statements`, `sql.rows` and `sql.blocks`."""
        totals = self.statements()
        return {
            "sql.statements": totals.calls / load.requests,
            "sql.rows": totals.rows / load.requests,
            "sql.blocks": totals.blocks / load.requests,
        }

    def collect_ended(self, load: Load, log: bytes) -> Counters:
        """`sql.sessions` and `sql.seq_rows`."""
        sessions, rows = self.sessions_and_scanned_rows()
        return {"sql.sessions": sessions, "sql.seq_rows": rows / load.requests}

    def statements(self) -> StatementTotals:
        """The service's statements since then; waits until no transaction is open."""
        self._wait("the service's transactions to end", BUSY)
        calls, rows, blocks = self._row(STATEMENTS, self.role)
        return StatementTotals(int(calls), int(rows), int(blocks))

    def sessions_and_scanned_rows(self) -> tuple[int, int]:
        """Connections opened and rows read by sequential scans since then.

        The service must have ended.
        """
        self._wait("the service's connections to close", BACKENDS)
        sessions, rows = self._totals()
        return sessions - self._before[0], rows - self._before[1]

    def _totals(self) -> tuple[int, int]:
        sessions, rows = self._row(TOTALS)
        return int(sessions), int(rows)

    def _row(self, query: LiteralString, *values: str) -> tuple[Any, ...]:
        row = self.connection.execute(query, values).fetchone()
        assert row is not None
        return row

    def _wait(self, what: str, count: LiteralString) -> None:
        wait_until(lambda: self._row(count, self.role) == (0,), what)
