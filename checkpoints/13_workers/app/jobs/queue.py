"""The queue: a job is a row in PostgreSQL, committed in the same transaction as its cause."""

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

# What procrastinate's own client executes, but on our connection and so in our transaction.
ENQUEUE_JOB = text("""
    SELECT procrastinate_defer_jobs_v1(ARRAY[
        (:queue, :task, 0, NULL, NULL, CAST(:args AS jsonb), NULL)::procrastinate_job_to_defer_v1
    ])
""")


async def enqueue(session: AsyncSession, task: str, **args: int) -> None:
    """Add a job to the caller's transaction. Workers see it when the caller commits, or never."""
    job = {"queue": "shop", "task": task, "args": orjson.dumps(args).decode()}
    await session.execute(ENQUEUE_JOB, job)
