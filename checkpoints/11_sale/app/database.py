"""The engine with its connection pool: plain rows for reads, a session for writes."""

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Annotated, Any

import orjson
from fastapi import Depends
from sqlalchemy import Executable, Row, event, make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine

from app.settings import settings

# The budget: processes x (pool_size + max_overflow) + what others need, such as migrations,
# a psql prompt and the readiness check, stays below PostgreSQL's max_connections:
# 1 x (20 + 0) + 5 = 25 of 100.
engine = create_async_engine(
    make_url(settings.database_url).set(drivername="postgresql+asyncpg"),
    connect_args={"server_settings": {"timezone": "UTC"}},
    pool_size=settings.pool_size,
    max_overflow=0,  # overflow is opened and thrown away in a rush, when that hurts most
    pool_timeout=settings.pool_timeout,
    json_deserializer=orjson.loads,
    pool_recycle=1800,  # seconds; firewalls forget idle connections after an hour or so
)
read_engine = engine.execution_options(isolation_level="AUTOCOMMIT")  # one statement needs no BEGIN
new_session = async_sessionmaker(engine, expire_on_commit=False)


# An endpoint calls session.close() as soon as it has its rows, which gives the connection back.
# At the end of the request is too late: the answer still has to reach a client that may be slow.
async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


Database = Annotated[AsyncSession, Depends(get_session)]
Rows = Sequence[Row[*tuple[Any, ...]]]  # with any number of columns


async def fetch_all(query: Executable, values: Mapping[str, Any]) -> Rows:
    """Fetch plain rows, not ORM objects. The connection goes back to the pool at once."""
    async with read_engine.connect() as connection:
        return (await connection.execute(query, values)).all()


@event.listens_for(engine.sync_engine, "checkout")
def discard_closed_connection(dbapi_connection: Any, record: Any, proxy: Any) -> None:
    """Replace the ping, three round trips: the event loop knows whether the socket was closed."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError  # the pool then tries another one
