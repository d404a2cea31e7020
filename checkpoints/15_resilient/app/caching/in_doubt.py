"""Transactions in doubt: the COMMIT was sent, and its answer never came."""

import asyncio

from sqlalchemy import Text, cast, func, text

from app.caching.tiers import forget
from app.database import reads
from app.logs import log

INTERVAL = 1.0  # seconds between two looks at what has ended
PATIENCE = 5.0  # seconds for a look; a connection that does not move must not stop the next one

# PostgreSQL's name for a transaction. It is never used again, and outlives connection and restart.
TRANSACTION_ID = cast(func.pg_current_xact_id(), Text)

# PostgreSQL says "committed" only once every new snapshot sees the change. NULL: it ended long ago.
ENDED = text("""
    SELECT id FROM unnest(CAST(:ids AS text[])) AS id
    WHERE pg_xact_status(CAST(id AS xid8)) IS DISTINCT FROM 'in progress'
""")

in_doubt: dict[str | None, tuple[str, ...]] = {}  # for each, the keys that it made untrue


async def resolve_doubts() -> None:
    """Invalidate again once a transaction has ended: until then, readers cache the old row again.

    One statement asks for all of them. However it fails, the next look may succeed.
    """
    while True:
        await asyncio.sleep(INTERVAL)
        if in_doubt:
            try:
                await invalidate_ended()
            except Exception as error:
                log.warning("still in doubt", error=type(error).__name__)


async def invalidate_ended() -> None:
    async with asyncio.timeout(PATIENCE), reads.connect() as connection:
        ended = (await connection.scalars(ENDED, {"ids": [*in_doubt]})).all()
    if ended:
        await forget(*{key for id in ended for key in in_doubt.pop(id)})
