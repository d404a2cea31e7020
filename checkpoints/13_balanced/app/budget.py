"""The budget: what all processes may hold together has to fit into what PostgreSQL takes."""

import sys

from sqlalchemy import text

from app.database import CONNECTION_ERRORS, read_engine
from app.settings import settings

ROOM = text("""
    SELECT current_setting('max_connections')::int - current_setting('reserved_connections')::int
        - current_setting('superuser_reserved_connections')::int
""")
LISTENING = 1  # a connection of each worker's own, on which it hears of new jobs


class OverBudget(Exception):
    """The processes that are starting may ask for more connections than there are."""


async def check_budget() -> None:
    """Better to say so at the start than to turn shoppers away at the peak."""
    try:
        async with read_engine.connect() as connection:
            room: int = (await connection.execute(ROOM)).scalar_one()
    except CONNECTION_ERRORS:
        return  # nobody there yet, or not ready: /readyz says so
    processes = settings.instances * settings.web_concurrency
    workers = settings.workers * (settings.job_concurrency + settings.job_connections + LISTENING)
    most = (room - workers - settings.other_connections) // processes
    if settings.pool_size > most:
        cure = f"Set POOL_SIZE to {most}" if most > 0 else "Run fewer processes"
        sys.tracebacklimit = 0  # the message says it all
        raise OverBudget(
            f"{processes} processes x {settings.pool_size} connections + {workers} for workers + "
            f"{settings.other_connections} for others is more than the {room} that PostgreSQL "
            f"has room for. {cure}, or raise max_connections."
        )
