"""A worker goes on when PostgreSQL refuses its statements, and when it does not answer at all."""

import psycopg
from queues import LAST, opened
from steps import each, introduced_in

from stack.checkpoint import Checkpoint
from stack.paths import CHECKPOINTS
from stack.stubs.fault_proxy import FaultProxy
from surge.machine.waiting import wait_until


def test_connector_is_the_same_file_at_every_step() -> None:
    """Its tests run at the last step only."""
    found = [path.read_text() for path in CHECKPOINTS.glob("*/app/jobs/connector.py")]
    assert len(found) > 1
    assert len(set(found)) == 1


@each(LAST)
def test_job_survives_silently_dead_connections(
    step: Checkpoint,
) -> None:
    with (
        opened(step, worker=False, JOB_DATABASE_TIMEOUT="0.5", WORKER_SILENCE="600") as shop,
        FaultProxy(shop.system.database_url) as proxy,
    ):
        shop.system.environment["DATABASE_URL"] = proxy.url
        shop.system.workers.start()
        with shop.database.transaction():
            shop.database.execute("LOCK TABLE orders IN ACCESS EXCLUSIVE MODE")  # no report is made
            report = shop.promise("toys")
            wait_until(lambda: shop.status(report) == "running", "the report to be begun")
            proxy.blackhole()
        wait_until(lambda: shop.status(report) == "done", "the report")
        wait_until(lambda: not shop.jobs("todo", "doing"), "the queue to hear of it")
        shop.system.workers.stop()  # while there is a way to say goodbye to its queue


LOOKING = """
    SELECT pg_cancel_backend(pid) FROM pg_stat_activity
    WHERE wait_event_type = 'Lock' AND query ~ 'min\\(coalesce'
"""


@each(introduced_in("observed"))
def test_failed_queue_metrics_end_no_worker(step: Checkpoint) -> None:
    with opened(step, worker=False) as shop:
        with psycopg.connect(shop.system.database_url) as holding:
            holding.execute("LOCK TABLE procrastinate_jobs IN ACCESS EXCLUSIVE MODE")
            shop.system.workers.start()
            wait_until(lambda: shop.database.execute(LOOKING).rowcount == 1, "a look to cancel")
            wait_until(lambda: bool(shop.said("no look at the queue")), "it to be told")
        order = shop.buy().json()["id"]
        wait_until(lambda: f"order-{order}" in shop.messages(), "its confirmation")


SILENT = """
    SELECT coalesce(extract(epoch FROM now() - max(last_heartbeat)), 9) FROM procrastinate_workers
"""
HEARTBEAT = "procrastinate_update_heartbeat_v1"


@each(LAST)
def test_heartbeat_resumes_after_long_refusals(step: Checkpoint) -> None:
    with opened(step) as shop:

        def silent() -> float:
            return float(shop.database.execute(SILENT).fetchone()[0])

        wait_until(lambda: silent() < 0.3, "a heartbeat")
        shop.database.execute(f"ALTER FUNCTION {HEARTBEAT} RENAME TO missing")
        wait_until(lambda: bool(shop.said("no heartbeat")), "one that was given up")
        shop.database.execute(f"ALTER FUNCTION missing RENAME TO {HEARTBEAT}")
        wait_until(lambda: silent() < 0.3, "another")
