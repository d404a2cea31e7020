"""The engine with its connection pool: plain rows for reads, a session for writes."""

import time
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from typing import Annotated, Any, cast

import asyncpg
import orjson
from fastapi import Depends
from sqlalchemy import Executable, PoolProxiedConnection, Row, event, make_url
from sqlalchemy.engine import ExceptionContext
from sqlalchemy.exc import DBAPIError, DisconnectionError
from sqlalchemy.ext.asyncio import AsyncSession, async_sessionmaker, create_async_engine
from sqlalchemy.pool import AsyncAdaptedQueuePool

from app.problems import Unavailable
from app.resilience.limit import limit
from app.resilience.retries import retry
from app.resilience.sqlstates import UNAVAILABLE, Refusal, classify
from app.settings import settings
from app.telemetry import metrics, tracing


class TimedPool(AsyncAdaptedQueuePool):
    """Measures the wait for a connection, the first thing to grow when a service is too small."""

    def connect(self) -> PoolProxiedConnection:
        began = time.monotonic()
        try:
            with metrics.pool_wait.time(), tracing.span("wait for a connection"):
                return super().connect()
        finally:
            limit.observe_delay("pool", (time.monotonic() - began) / settings.limit_pool)


engine = create_async_engine(
    make_url(settings.database_url).set(drivername="postgresql+asyncpg"),
    poolclass=TimedPool,
    connect_args={
        "server_settings": {"timezone": "UTC"},
        "timeout": settings.connect_timeout,
    },
    pool_size=settings.pool_size,
    max_overflow=0,  # overflow is opened and thrown away in a rush, when that hurts most
    pool_timeout=settings.pool_timeout,
    json_deserializer=orjson.loads,
    pool_recycle=1800,  # seconds; firewalls forget idle connections after an hour or so
)
metrics.pool_in_use.set_function(cast(TimedPool, engine.pool).checkedout)
read_engine = engine.execution_options(isolation_level="AUTOCOMMIT")  # one statement needs no BEGIN

# What a lost connection raises. While one is being opened, asyncpg's errors come unwrapped.
CONNECTION_ERRORS = (OSError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError)


class TracedSession(AsyncSession):
    """A span for the commit: it is no statement, and often slowest, since it waits for the disk."""

    async def commit(self) -> None:
        with tracing.span("commit"):
            await super().commit()


new_session = async_sessionmaker(engine, class_=TracedSession, expire_on_commit=False)


# An endpoint calls session.close() as soon as it has its rows, which gives the connection back.
# At the end of the request is too late: the answer still has to reach a client that may be slow.
async def get_session() -> AsyncIterator[AsyncSession]:
    with translate_database_errors():
        async with new_session() as session:
            yield session


Database = Annotated[AsyncSession, Depends(get_session)]
Rows = Sequence[Row[*tuple[Any, ...]]]  # with any number of columns


async def fetch_all(query: Executable, values: Mapping[str, Any]) -> Rows:
    """Fetch plain rows, not ORM objects. The connection goes back to the pool at once."""
    return await retry(partial(fetch_all_once, query, values), is_retryable)


async def fetch_all_once(query: Executable, values: Mapping[str, Any]) -> Rows:
    with translate_database_errors():
        async with read_engine.connect() as connection:
            return (await connection.execute(query, values)).all()


class DatabaseUnavailable(Unavailable):
    """PostgreSQL does not answer, or refuses for a temporary reason."""

    def __init__(self, why: Refusal) -> None:
        super().__init__()
        self.why = why


def is_retryable(error: Exception) -> bool:
    return isinstance(error, DatabaseUnavailable) and error.why.retry


@contextmanager
def translate_database_errors() -> Iterator[None]:
    try:
        yield
    except DBAPIError as error:
        why = classify(error)
        if why is None:
            raise
        raise DatabaseUnavailable(why) from error
    except CONNECTION_ERRORS as error:
        raise DatabaseUnavailable(UNAVAILABLE) from error


@event.listens_for(engine.sync_engine, "handle_error")
def invalidate_connection(failed: ExceptionContext) -> None:
    error = failed.sqlalchemy_exception
    if isinstance(error, DBAPIError) and (why := classify(error)) and why.reconnect:
        failed.is_disconnect = True
        # Only this one: otherwise every refused order would reconnect the whole pool.
        failed.invalidate_pool_on_disconnect = False


@event.listens_for(engine.sync_engine, "checkout")
def discard_closed_connection(dbapi_connection: Any, record: Any, proxy: Any) -> None:
    """Replace the ping, three round trips: the event loop knows whether the socket was closed."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError  # the pool then tries another one


@event.listens_for(engine.sync_engine, "before_cursor_execute", named=True)
def record_start(context: Any, **_: Any) -> None:
    context.started = time.time_ns()


@event.listens_for(engine.sync_engine, "after_cursor_execute", named=True)
def record_statement(statement: str, context: Any, **_: Any) -> None:
    tracing.record_span("postgresql", context.started, **{"db.query.text": statement})


@event.listens_for(engine.sync_engine, "handle_error")
def record_failure(failed: ExceptionContext) -> None:
    # The statements that set up a new connection have no recorded start.
    if started := getattr(failed.execution_context, "started", None):
        what = {"db.query.text": failed.statement, "error": str(failed.original_exception)}
        tracing.record_span("postgresql", started, **what)
