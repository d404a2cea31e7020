"""The connection budget: what all processes may open together must fit into PostgreSQL."""

import sys

from sqlalchemy import text

from app.database import CONNECTION_ERRORS, read_engine
from app.settings import settings

USABLE_CONNECTIONS = text("""
    SELECT current_setting('max_connections')::int - current_setting('reserved_connections')::int
        - current_setting('superuser_reserved_connections')::int
""")
LISTENERS = 1  # connections of each worker on which it hears of new jobs


class OverBudget(Exception):
    """The processes that are starting may open more connections than PostgreSQL takes."""


async def check_budget() -> None:
    """Refuse to start over budget. The alternative is to refuse shoppers at the peak."""
    try:
        async with read_engine.connect() as connection:
            usable: int = (await connection.execute(USABLE_CONNECTIONS)).scalar_one()
    except CONNECTION_ERRORS:
        return  # PostgreSQL is not there yet, or not ready: /readyz says so
    processes = settings.instances * settings.web_concurrency
    workers = settings.workers * (settings.job_concurrency + settings.job_connections + LISTENERS)
    largest_pool = (usable - workers - settings.other_connections) // processes
    if settings.pool_size > largest_pool:
        advice = f"Set POOL_SIZE to {largest_pool}" if largest_pool > 0 else "Run fewer processes"
        sys.tracebacklimit = 0  # the message is enough
        raise OverBudget(
            f"{processes} processes x {settings.pool_size} connections + {workers} for workers + "
            f"{settings.other_connections} for others is more than the {usable} that PostgreSQL "
            f"has room for. {advice}, or raise max_connections."
        )
