"""The engine with its connection pool, and a session for every request."""

from collections.abc import Iterator
from typing import Annotated

from fastapi import Depends
from sqlalchemy import create_engine
from sqlalchemy.orm import Session, sessionmaker

from app.settings import settings

# The budget: processes x (pool_size + max_overflow) + what others need, such as migrations,
# a psql prompt and the readiness check, stays below PostgreSQL's max_connections:
# 1 x (20 + 0) + 5 = 25 of 100.
engine = create_engine(
    settings.database_url,
    pool_size=settings.pool_size,
    max_overflow=0,  # overflow is opened and thrown away in a rush, when that hurts most
    pool_timeout=settings.pool_timeout,
    pool_pre_ping=True,  # a round trip that finds out whether the server was restarted
    pool_recycle=1800,  # seconds; firewalls forget idle connections after an hour or so
    connect_args={"options": "-c timezone=UTC"},
)
new_session = sessionmaker(engine, expire_on_commit=False)


# An endpoint calls session.close() as soon as it has its rows, which gives the connection back.
# At the end of the request is too late: the answer still has to be built, which needs a thread,
# and all threads may be waiting for this connection.
def get_session() -> Iterator[Session]:
    with new_session() as session:
        yield session


Database = Annotated[Session, Depends(get_session)]
