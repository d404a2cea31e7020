"""Nonsense in the queue, or from the mail service, ends no worker and holds up no other job."""

from collections.abc import Iterator
from contextlib import contextmanager

import httpx2
import psutil
import psycopg
import pytest
from nonsense import ANSWERS, GOOD, Nonsense, body
from steps import each, introduced_in

from stack.checkpoint import Checkpoint
from stack.system import System
from surge.machine.waiting import wait_until

MORE = 50_000_000  # bytes that the worker may grow by; what does not end would be a gigabyte
QUICK = {"WORKER_SILENCE": "1", "JOB_RETRIES": "1", "MAIL_TIMEOUT": "2"}

UNREADABLE = {
    "nothing": "null",
    "a list": "[1]",
    "text": '"text"',
    "too large": '{"x": "' + "y" * 10_000_000 + '"}',
    "too deep": '{"x": ' + "[" * 3000 + "]" * 3000 + "}",
}
"""What would end a worker that reads it is not even taken."""

HOPELESS = [
    ("no_such_task", "{}"),
    ("make_report", "{}"),
    ("make_report", '{"report_id": "x"}'),
    ("make_report", '{"report_id": [1]}'),
    ("make_report", '{"report_id": 99999999999999999999}'),
    ("make_report", '{"report_id": 1e400}'),
    ("make_report", '{"report_id": 1, "event": 1, "job": 1, "task": 1}'),
    ("confirm_orders", '{"order_ids": 999999999}'),
    ("confirm_orders", '{"order_ids": [999999999], "traceparents": [""]}'),
    ("confirm_orders", '{"order_ids": [-1], "traceparents": ["00-1"]}'),
]

HARMLESS = [("make_report", f'{{"report_id": {id}}}') for id in ("null", "1.5", "999999999")]
"""There is nothing to do, and that is done."""

PUT = "INSERT INTO procrastinate_jobs (queue_name, task_name, args) VALUES ('shop', %s, %s)"

HURRY = "UPDATE procrastinate_jobs SET scheduled_at = NULL WHERE scheduled_at IS NOT NULL"

# As a worker leaves the last try of a job when it dies of it.
DIED_OF = """
    UPDATE procrastinate_jobs SET status = 'doing', attempts = 2, worker_id = NULL
    WHERE id = (SELECT id FROM procrastinate_jobs WHERE args ? %s)
"""
GIVEN_UP = """
    WITH report AS (UPDATE reports SET status = 'running' WHERE id = %s RETURNING id)
    INSERT INTO procrastinate_jobs (queue_name, task_name, args, status)
    SELECT 'shop', 'make_report', jsonb_build_object('report_id', id), 'failed' FROM report
"""


class Shop:
    """A running shop and its queue."""

    def __init__(self, system: System, database: psycopg.Connection) -> None:
        self.system = system
        self.database = database

    def buy(self) -> int:
        new = {"product_id": 7, "quantity": 1, "customer": "ada@example.com"}
        order: int = httpx2.post(f"{self.system.url}/orders", json=new).json()["id"]
        return order

    def jobs(self, *statuses: str) -> list[str]:
        """The tasks of the jobs in these states."""
        query = "SELECT task_name FROM procrastinate_jobs WHERE status::text = ANY(%s)"
        return [task for [task] in self.database.execute(query, [list(statuses)])]

    def status(self, report: httpx2.Response) -> str:
        answer = httpx2.get(self.system.url + report.headers["Location"])
        status: str = answer.json()["status"]
        return status

    def settled(self) -> None:
        """Wait until nothing is left to do; what is tried again, is tried at once."""

        def done() -> bool:
            if self.database.execute(HURRY).rowcount:
                self.buy()  # the queue says so of new jobs, and then its workers look
            return not self.jobs("todo", "doing")

        wait_until(done, "the jobs to be done or given up")

    def worker(self) -> psutil.Process:
        [pid] = self.system.pids()["worker"]
        return psutil.Process(pid)


@contextmanager
def opened(step: Checkpoint, **settings: str) -> Iterator[Shop]:
    with (
        System(step, size="tiny", environment=QUICK | settings, instances=1) as system,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):
        yield Shop(system, database)


@each(introduced_in("background"))
def test_nonsense_in_the_queue_stops_no_worker_and_no_other_job(
    step: Checkpoint,
) -> None:
    with opened(step) as shop:
        worker = shop.worker()
        for args in UNREADABLE.values():
            with pytest.raises(psycopg.errors.CheckViolation):
                shop.database.execute(PUT, ["make_report", args])
        for job in HOPELESS + HARMLESS:
            shop.database.execute(PUT, job)
        made, lost = (
            httpx2.post(f"{shop.system.url}/reports", json={"category": category})
            for category in ("toys", "games")
        )
        shop.settled()
        assert sorted(shop.jobs("failed")) == sorted(task for task, _ in HOPELESS)
        shop.database.execute(DIED_OF, ["event"])
        shop.settled()
        shop.database.execute(GIVEN_UP, [lost.json()["id"]])
        wait_until(lambda: shop.status(lost) == "failed", "its client to hear of it")
        assert shop.status(made) == "done"
        shop.buy()
        shop.settled()
        assert len(shop.jobs("failed")) == len(HOPELESS) + 1
        assert shop.worker() == worker, "it was ended"
        assert worker.is_running()


@each(introduced_in("background"))
def test_only_the_status_of_a_mail_answer_counts(step: Checkpoint) -> None:
    with Nonsense() as server, opened(step, MAIL_URL=f"{server.url}/mail", JOB_RETRIES="5") as shop:
        before = shop.worker().memory_info().rss
        for taken in (
            "null",
            "nested",
            "no charset",
            "endless",
            "a gigabyte",
            "a bomb",
            "no content",
        ):
            server.says = ANSWERS[taken]
            calls = server.calls
            shop.buy()
            shop.settled()
            assert (taken, server.calls, shop.jobs("failed")) == (taken, calls + 1, [])
        refused = ("elsewhere", "not modified", "no HTTP", "endless headers", "another protocol")
        for name in refused:
            server.says = ANSWERS[name]
            calls = server.calls
            shop.buy()
            wait_until(lambda calls=calls: server.calls > calls and not shop.jobs("doing"), name)
        assert shop.jobs("todo") == ["confirm_orders"] * len(refused)
        assert shop.worker().memory_info().rss - before < MORE
        server.says = body(GOOD)
        shop.settled()
        assert not shop.jobs("failed")
