"""A worker: `python -m app.jobs.worker` does jobs until told to stop. Run as many as needed."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import procrastinate
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status

from app.database import engine
from app.jobs.connector import procrastinate_app
from app.jobs.tasks import fail_abandoned_reports
from app.logs import log, open_log
from app.settings import settings


async def observe_job(
    process: Callable[[], Awaitable[None]], context: procrastinate.JobContext, worker: Any
) -> None:
    """Log a line for every job, as for every request."""
    job = context.job
    try:
        await process()
    except BaseException as error:  # a job that is cancelled at shutdown counts as tried, too
        log.warning("job failed", job=job.id, task=job.task_name, error=repr(error))
        raise
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


def open_mail_client() -> aiohttp.ClientSession:
    """For the mail service. Of its answers only the status is read."""
    return aiohttp.ClientSession(
        timeout=aiohttp.ClientTimeout(total=settings.mail_timeout),
        auto_decompress=False,
        cookie_jar=aiohttp.DummyCookieJar(),
    )


async def main() -> None:
    with open_log():
        async with (
            procrastinate_app.open_async(),
            open_mail_client() as client,
            asyncio.TaskGroup() as group,  # if one task fails, all end, and the error is seen
        ):
            rescuer = group.create_task(run_rescuer())
            await run_worker(client)
            rescuer.cancel()
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(main())
