"""Lose a connection to PostgreSQL while it is made, before or after the driver's own setup."""

import asyncio
import sys
from typing import Any

from app import database
from sqlalchemy import event, text


def lose(connection: Any) -> None:
    connection.driver_connection.terminate()


def lose_first(connection: Any) -> Any:
    lose(connection.connection)
    return initialize(connection)


engine = database.engine.sync_engine
if sys.argv[1:] == ["before it is set up"]:
    event.listen(engine, "connect", lambda connection, record: lose(connection), insert=True)
else:
    initialize, engine.dialect.initialize = engine.dialect.initialize, lose_first
try:
    asyncio.run(database.fetch_all(text("SELECT 1"), {}))
except getattr(database, "DatabaseUnavailable", database.CONNECTION_ERRORS):
    sys.exit()
sys.exit("nothing was lost")
