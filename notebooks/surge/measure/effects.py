"""What a load leaves behind: rows, stock, jobs and log lines, held against its answers.

A service that answers 201 and sells nothing is fast.
"""

import re
import time
from collections import Counter
from dataclasses import dataclass
from typing import LiteralString, NamedTuple

import psycopg

from stack.stubs.client import partner_stats
from stack.system import System
from surge.measure.arms import Arm

SOLD: LiteralString = "SELECT count(*), coalesce(sum(quantity), 0) FROM orders"
STOCK: LiteralString = "SELECT sum(stock) FROM products"
REPORTS: LiteralString = "SELECT count(*) FROM reports"
# Each number in a job's arguments is an order or a report. A job that is done is deleted.
QUEUED: LiteralString = """
    SELECT count(*) FILTER (WHERE status = 'todo'), count(*)
    FROM procrastinate_jobs, jsonb_path_query(args, 'strict $.** ? (@.type() == "number")')
"""
MADE: LiteralString = "SELECT count(*) FROM reports WHERE status IN ('done', 'failed')"
DROPPED = re.compile(rb'"dropped":(\d+)')
LOG_SECONDS = 2.0
"""Lines are written some time after their response."""
TAIL = 100_000
"""Bytes at the end of a log, where the latest number of dropped lines stands."""


class SeenTo(NamedTuple):
    """How many orders and reports are in a job, or confirmed and made. Workers go on meanwhile, and
    what one is busy with may be both, so it is known only so well."""

    least: int
    most: int


@dataclass(frozen=True)
class Effects:
    """The totals at one moment."""

    orders: int = 0
    units: int = 0
    """Sold by these orders."""
    stock: int = 0
    reports: int = 0
    seen_to: SeenTo | None = None
    """None where a step has no queue."""


def read(system: System) -> Effects:
    """Read the totals from the database."""
    with psycopg.connect(system.database_url, autocommit=True) as connection:

        def row(query: LiteralString) -> list[int]:
            found = connection.execute(query).fetchone()
            assert found is not None
            return [int(value) for value in found]

        [orders, units], [stock], [reports] = row(SOLD), row(STOCK), row(REPORTS)

        def done() -> int:
            return row(MADE)[0] + partner_stats(system.partners_url)["messages"]

        seen_to = None
        if system.checkpoint.serve.worker:
            before, [waiting, unfinished] = done(), row(QUEUED)
            seen_to = SeenTo(least=before + waiting, most=unfinished + done())
    return Effects(orders, units, stock, reports, seen_to)


def log_lines(system: System) -> int | None:
    """The lines in the service's logs, with those that it says it has dropped.

    None where it does not log a line for each answer: it has no such file, or a proxy answers too.
    """
    files = map(system.service.log_file, range(len(system.service.children)))
    if system.proxy or not any(file.exists() for file in files):
        return None
    log = system.service.log()
    dropped = DROPPED.findall(log[-TAIL:])
    return log.count(b"\n") + (int(dropped[-1]) if dropped else 0)


class Books:
    """Holds what a side has answered from now on against what that leaves in its system."""

    def __init__(self, arm: Arm, writes: bool, must_log: bool) -> None:
        self.arm = arm
        self.before = read(arm.system) if writes and arm.system.database_url else None
        self.lines = log_lines(arm.system) if must_log else None
        self.statuses = arm.statuses.copy()
        self.unanswered = arm.unanswered

    @property
    def refused(self) -> float:
        """The part of the orders that was refused as sold out."""
        statuses = self.arm.statuses - self.statuses
        return statuses[409] / max(1, statuses[201] + statuses[409])

    def mismatch(self) -> str | None:
        """Say which of its answers the side did not stand by, if any. No request is under way."""
        statuses = self.arm.statuses - self.statuses
        lost = self.arm.unanswered - self.unanswered  # they may have been carried out
        found = self.before and mismatch(self.before, read(self.arm.system), statuses, lost)
        found = found or self._missing_lines(statuses.total())
        side = f"{self.arm.side.upper()} ({self.arm.system.checkpoint.label})"
        return f"{side} {found}" if found else None

    def _missing_lines(self, answers: int) -> str | None:
        """Wait for the log, which may come later than the answers."""
        if self.lines is None:
            return None
        deadline = time.monotonic() + LOG_SECONDS
        while (logged := (log_lines(self.arm.system) or 0) - self.lines) < answers:
            if time.monotonic() > deadline:
                return f"gave {answers:,} answers and logged {logged:,} lines"
            time.sleep(0.05)
        return None


def refusals_differ(a: Books, b: Books, most: float) -> str | None:
    """Say if the shares of orders that the two sides refuse differ by more than `most`."""
    if abs(a.refused - b.refused) <= most:
        return None
    return f"of the orders, {a.refused:.0%} and {b.refused:.0%} were refused as sold out"


def mismatch(before: Effects, after: Effects, statuses: Counter[int], lost: int) -> str | None:
    """Say how rows, stock and jobs contradict the answers, if they do.

    Args:
        before: the totals before the load.
        after: and now.
        statuses: the answers; POST /orders alone gives 201, POST /reports 202.
        lost: requests without an answer.
    """
    orders, reports = after.orders - before.orders, after.reports - before.reports
    for status, kind, added in ((201, "orders", orders), (202, "reports", reports)):
        if not statuses[status] <= added <= statuses[status] + lost:
            return f"answered {status} {statuses[status]:,} times and has {added:,} new {kind}"
    if (sold := after.units - before.units) != (taken := before.stock - after.stock):
        return f"sold {sold:,} units and took {taken:,} from stock"
    if after.seen_to is None or before.seen_to is None:
        return None
    seen_to, promised = after.seen_to.most - before.seen_to.least, orders + reports
    if seen_to >= promised:
        return None
    return f"queued or did {seen_to:,} of {promised:,} orders and reports"
