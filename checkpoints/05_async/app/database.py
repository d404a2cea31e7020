"""The engine with its connection pool, and a session for every request."""

from collections.abc import AsyncIterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy import make_url
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
    pool_pre_ping=True,  # a round trip that finds out whether the server was restarted
    pool_recycle=1800,  # seconds; firewalls forget idle connections after an hour or so
)
new_session = async_sessionmaker(engine, expire_on_commit=False)


# An endpoint calls session.close() as soon as it has its rows, which gives the connection back.
# At the end of the request is too late: the answer still has to reach a client that may be slow.
async def get_session() -> AsyncIterator[AsyncSession]:
    async with new_session() as session:
        yield session


Database = Annotated[AsyncSession, Depends(get_session)]
