"""The queue: a job is a row in PostgreSQL, committed together with what it follows from."""

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.telemetry.tracing import trace_headers

# As procrastinate's own client does it, but on our connection and so within our transaction.
PUT = text("""
    SELECT procrastinate_defer_jobs_v1(ARRAY[
        (:queue, :task, 0, NULL, NULL, CAST(:args AS jsonb), NULL)::procrastinate_job_to_defer_v1
    ])
""")


async def put(session: AsyncSession, task: str, **args: int) -> None:
    """Leaves a job for a worker, who sees it when the caller commits, and never if it does not."""
    job = {"queue": "shop", "task": task, "args": orjson.dumps(args | trace_headers()).decode()}
    await session.execute(PUT, job)
