"""The worker: `python -m app.jobs.worker` does jobs until it is told to stop.

Run as many as needed.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import aiohttp
import procrastinate
from procrastinate.exceptions import ConnectorException
from procrastinate.jobs import Status

from app.database import engine
from app.jobs.connector import queue
from app.jobs.tasks import fail_reports
from app.logs import log, open_log
from app.settings import settings


async def tell(
    process: Callable[[], Awaitable[None]], context: procrastinate.JobContext, worker: Any
) -> None:
    """A line in the log for every job, as for every request."""
    job = context.job
    try:
        await process()
    except BaseException as error:  # to be told to stop counts as a try, too
        log.warning("job failed", job=job.id, task=job.task_name, error=repr(error))
        raise
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
    with open_log():
        async with (
            queue.open_async(),
            open_client() as client,
            asyncio.TaskGroup() as together,  # if one of the two fails, both end, and aloud
        ):
            rescuer = together.create_task(rescue())
            await do_jobs(client)
            rescuer.cancel()
        await engine.dispose()


if __name__ == "__main__":
    asyncio.run(work())
