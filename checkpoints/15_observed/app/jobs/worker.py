"""A worker: `python -m app.jobs.worker` does jobs until told to stop. Run as many as needed."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import procrastinate
from opentelemetry.trace import SpanKind
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status
from prometheus_client import Gauge, Histogram, start_http_server
from sqlalchemy import text
from structlog.contextvars import bound_contextvars

from app.database import engine, fetch_all
from app.jobs.connector import database_timeout, procrastinate_app
from app.jobs.tasks import fail_abandoned_reports
from app.logs import log, open_log
from app.settings import settings
from app.telemetry import metrics, tracing
from app.telemetry.tracing import open_tracing

WATCH_SECONDS = 5.0  # between two measurements of the queue
COUNT_DUE = text("""
    SELECT task_name, count(*), extract(epoch FROM now() - min(coalesce(scheduled_at, at)))::float
    FROM procrastinate_jobs JOIN procrastinate_events ON job_id = procrastinate_jobs.id
    WHERE status = 'todo' AND type = 'deferred' AND (scheduled_at IS NULL OR scheduled_at <= now())
    GROUP BY task_name
""")
COUNT_FAILED = text("SELECT count(*) FROM procrastinate_jobs WHERE status IN ('failed', 'aborted')")

job_duration = Histogram(
    "job_duration_seconds",
    "Jobs and how long they took.",
    ["task", "outcome"],
    buckets=metrics.JOB_BUCKETS,
)
jobs_waiting = Gauge("jobs_waiting", "Jobs that are due and not begun.", ["task"])
jobs_oldest = Gauge("jobs_oldest_seconds", "How long the oldest of them has waited.")
jobs_given_up = Gauge("jobs_given_up", "Jobs that failed so often that they are not tried again.")


async def observe_job(
    process: Callable[[], Awaitable[None]], context: procrastinate.JobContext, worker: Any
) -> None:
    """Log a line for every job, as for every request. Measure it, and record a span."""
    job = context.job
    parent = str(job.task_kwargs.get("traceparent", "")).encode()
    outcome, started = "failed", time.perf_counter()
    with bound_contextvars(trace_id=tracing.trace_id_of(parent)):
        try:
            with tracing.resume_trace(parent, job.task_name, SpanKind.CONSUMER):
                await process()
            outcome = "done"
        except BaseException as error:  # a job that is cancelled at shutdown counts as tried, too
            log.warning("job failed", job=job.id, task=job.task_name, error=repr(error))
            raise
        finally:
            seconds = time.perf_counter() - started
            job_duration.labels(job.task_name, outcome).observe(seconds)
        log.info("job", job=job.id, task=job.task_name, **job.task_kwargs)


async def run_worker(client: aiohttp.ClientSession) -> None:
    """Do jobs, several at once, and send a heartbeat in between, until told to stop."""
    while True:
        try:
            await procrastinate_app.run_worker_async(
                concurrency=settings.job_concurrency,
                update_heartbeat_interval=settings.worker_silence / 4,
                stalled_worker_timeout=settings.worker_silence,
                shutdown_graceful_timeout=settings.job_patience,
                delete_jobs="successful",  # failed jobs stay, to be looked at
                worker_middleware=[observe_job],
                additional_context={"client": client},
            )
            return
        except ConnectorException as error:  # the connection was cut while a job was fetched
            # Restart under a new worker id. `run_rescuer` requeues the old one's stalled jobs.
            log.warning("begins anew", error=repr(error))
            await asyncio.sleep(1)


async def run_rescuer() -> None:
    """Look for the jobs of dead workers, and for reports whose job was given up."""
    while True:
        await asyncio.sleep(settings.worker_silence / 2)
        try:
            await requeue_stalled_jobs()
            await fail_abandoned_reports()
        except Exception as error:  # another worker was quicker, or PostgreSQL refused: next time
            log.warning("no rescue", error=repr(error))


async def requeue_stalled_jobs() -> None:
    """Give the jobs of workers without a heartbeat to others, but give up on the hopeless ones."""
    jobs = procrastinate_app.job_manager
    for job in await jobs.get_stalled_jobs(seconds_since_heartbeat=settings.worker_silence):
        if job.attempts < settings.job_retries:
            await jobs.retry_job(job)
        else:  # it may be the job that kills its workers
            log.warning("job given up", job=job.id, task=job.task_name, args=job.task_kwargs)
            await jobs.finish_job(job, Status.FAILED, delete_job=False)


async def watch_queue() -> None:
    while True:
        try:
            await measure_queue()
        except Exception as error:  # a number that is missing must not end the worker
            log.warning("no look at the queue", error=repr(error))
        await asyncio.sleep(WATCH_SECONDS)


async def measure_queue() -> None:
    """A growing queue is the first sign of workers that do not keep up."""
    async with database_timeout():
        due = await fetch_all(COUNT_DUE, {})
        [[failed]] = await fetch_all(COUNT_FAILED, {})
    jobs_waiting.clear()
    for task, count, _ in due:
        jobs_waiting.labels(task).set(count)
    jobs_oldest.set(max((age for _, _, age in due), default=0))
    jobs_given_up.set(failed)


def open_mail_client() -> aiohttp.ClientSession:
    """For the mail service. Of its answers only the status is read."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=settings.mail_timeout),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def main() -> None:
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host)
    with open_log():
        async with (
            open_tracing("shop-worker"),
            procrastinate_app.open_async(),
            open_mail_client() as client,
            asyncio.TaskGroup() as group,  # if one task fails, all end, and the error is seen
        ):
            rescuer = group.create_task(run_rescuer())
            watcher = group.create_task(watch_queue())
            await run_worker(client)
            rescuer.cancel()
            watcher.cancel()
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
