"""Transactions in doubt: the COMMIT was sent, and its answer never came."""

import asyncio

from sqlalchemy import Text, cast, func, text

from app.caching.tiers import invalidate
from app.database import read_engine
from app.logs import log

INTERVAL = 1.0  # seconds between two queries
TIMEOUT = 5.0  # seconds for a query; a connection that hangs must not stop the next one

# PostgreSQL's name for a transaction. It is never used again, and outlives connection and restart.
TRANSACTION_ID = cast(func.pg_current_xact_id(), Text)

# PostgreSQL says "committed" only once every new snapshot sees the change. NULL: it ended long ago.
ENDED = text("""
    SELECT id FROM unnest(CAST(:ids AS text[])) AS id
    WHERE pg_xact_status(CAST(id AS xid8)) IS DISTINCT FROM 'in progress'
""")

in_doubt: dict[str | None, tuple[str, ...]] = {}  # the keys that each transaction changes


async def resolve_doubts() -> None:
    """Invalidate again once a transaction has ended: until then, readers cache the old row again.

    One statement asks for all of them. However it fails, the next one may succeed.
    """
    while True:
        await asyncio.sleep(INTERVAL)
        if in_doubt:
            try:
                await invalidate_ended()
            except Exception as error:
                log.warning("still in doubt", error=type(error).__name__)


async def invalidate_ended() -> None:
    async with asyncio.timeout(TIMEOUT), read_engine.connect() as connection:
        ended = (await connection.scalars(ENDED, {"ids": [*in_doubt]})).all()
    if ended:
        await invalidate(*{key for id in ended for key in in_doubt.pop(id)})
