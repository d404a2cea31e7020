"""The worker: `python -m app.jobs.worker` does jobs until it is told to stop.

Run as many as needed.
"""

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

from app.database import engine, rows
from app.jobs.connector import in_time, queue
from app.jobs.tasks import fail_reports
from app.logs import log, open_log
from app.settings import settings
from app.telemetry import metrics, tracing
from app.telemetry.tracing import open_tracing

EVERY = 5.0  # seconds between two looks at the queue
WAITING = text("""
    SELECT task_name, count(*), extract(epoch FROM now() - min(coalesce(scheduled_at, at)))::float
    FROM procrastinate_jobs JOIN procrastinate_events ON job_id = procrastinate_jobs.id
    WHERE status = 'todo' AND type = 'deferred' AND (scheduled_at IS NULL OR scheduled_at <= now())
    GROUP BY task_name
""")
GIVEN_UP = text("SELECT count(*) FROM procrastinate_jobs WHERE status IN ('failed', 'aborted')")

jobs_done = Histogram(
    "job_duration_seconds",
    "Jobs and how long they took.",
    ["task", "outcome"],
    buckets=metrics.JOB_BUCKETS,
)
waiting = Gauge("jobs_waiting", "Jobs that are due and that nobody has begun.", ["task"])
oldest = Gauge("jobs_oldest_seconds", "How long the oldest of them has waited.")
given_up = Gauge("jobs_given_up", "Jobs that failed so often that nobody tries them again.")


async def tell(
    process: Callable[[], Awaitable[None]], context: procrastinate.JobContext, worker: Any
) -> None:
    """A line in the log for every job, as for every request; its place in the numbers; a span."""
    job = context.job
    parent = str(job.task_kwargs.get("traceparent", "")).encode()
    outcome, started = "failed", time.perf_counter()
    with bound_contextvars(trace_id=tracing.trace_id_of(parent)):
        try:
            with tracing.resume_trace(parent, job.task_name, SpanKind.CONSUMER):
                await process()
            outcome = "done"
        except BaseException as error:  # to be told to stop counts as a try, too
            log.warning("job failed", job=job.id, task=job.task_name, error=repr(error))
            raise
        finally:
            seconds = time.perf_counter() - started
            jobs_done.labels(job.task_name, outcome).observe(seconds)
        log.info("job", job=job.id, task=job.task_name, **job.task_kwargs)


async def rescue() -> None:
    """Gives the jobs of workers that have gone silent to the others; but not for ever."""
    jobs = queue.job_manager
    while True:
        await asyncio.sleep(settings.worker_silence / 2)
        try:
            silent = await jobs.get_stalled_jobs(seconds_since_heartbeat=settings.worker_silence)
            for job in silent:
                if job.attempts < settings.job_retries:
                    await jobs.retry_job(job)
                else:  # it may be the job that kills them
                    log.warning(
                        "job given up", job=job.id, task=job.task_name, args=job.task_kwargs
                    )
                    await jobs.finish_job(job, Status.FAILED, delete_job=False)
            await fail_reports()
        # Another worker was quicker, or PostgreSQL has refused. Jobs go on, and so does this.
        except Exception as error:
            log.warning("no rescue", error=repr(error))


async def watch_queue() -> None:
    """A queue that grows is the first that is seen of workers who do not keep up."""
    while True:
        try:
            async with in_time():
                found = await rows(WAITING, {})
                [failed] = await rows(GIVEN_UP, {})
            waiting.clear()
            for task, count, _ in found:
                waiting.labels(task).set(count)
            oldest.set(max((age for _, _, age in found), default=0))
            given_up.set(failed.count)
        except Exception as error:  # no number is worth a worker
            log.warning("no look at the queue", error=repr(error))
        await asyncio.sleep(EVERY)


async def do_jobs(client: aiohttp.ClientSession) -> None:
    while True:
        try:
            await queue.run_worker_async(
                concurrency=settings.job_concurrency,
                update_heartbeat_interval=settings.worker_silence / 4,
                stalled_worker_timeout=settings.worker_silence,
                shutdown_graceful_timeout=settings.job_patience,
                delete_jobs="successful",  # what failed stays, to be looked at
                worker_middleware=[tell],
                additional_context={"client": client},
            )
            return
        except ConnectorException as error:  # cut off while it asked for a job
            # It goes on as another worker: what this one was given, that one rescues.
            log.warning("begins anew", error=repr(error))
            await asyncio.sleep(1)


def open_client() -> aiohttp.ClientSession:
    """For the mail service, of whose answers we want the status and nothing else."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=settings.mail_timeout),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def work() -> None:
    if settings.metrics_port:
        start_http_server(settings.metrics_port, settings.metrics_host)
    with open_log():
        async with (
            open_tracing("shop-worker"),
            queue.open_async(),
            open_client() as client,
            asyncio.TaskGroup() as together,  # if one of the two fails, both end, and aloud
        ):
            forever = [together.create_task(task) for task in (rescue(), watch_queue())]
            await do_jobs(client)
            for task in forever:
                task.cancel()
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(work())
