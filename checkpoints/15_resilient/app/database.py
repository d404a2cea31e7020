"""The engine with its pool of connections: rows for who reads, a session for who writes."""

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
    """Where a service that is too small is felt first: who waits here, waits for nothing else."""

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
reads = engine.execution_options(isolation_level="AUTOCOMMIT")  # one statement needs no BEGIN

# How it ends when PostgreSQL goes. While a connection is being made, asyncpg speaks for itself.
LOST = (OSError, DBAPIError, asyncpg.PostgresError, asyncpg.InterfaceError)


class TracedSession(AsyncSession):
    """The commit is no statement, and often what takes longest: it waits for the disk."""

    async def commit(self) -> None:
        with tracing.span("commit"):
            await super().commit()


new_session = async_sessionmaker(engine, class_=TracedSession, expire_on_commit=False)


# An endpoint calls session.close() as soon as it has its rows, which gives the connection back.
# At the end of the request is too late. The answer still has to reach the client, who may be slow.
async def get_session() -> AsyncIterator[AsyncSession]:
    with translate_database_errors():
        async with new_session() as session:
            yield session


Database = Annotated[AsyncSession, Depends(get_session)]


async def rows(query: Executable, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
    """Rows as they come, without an object for each; the connection is given back at once."""
    return await retry(partial(fetch_attempt, query, values), is_retryable)


async def fetch_attempt(query: Executable, values: Mapping[str, Any]) -> Sequence[Row[Any]]:
    with translate_database_errors():
        async with reads.connect() as connection:
            return (await connection.execute(query, values)).all()


class DatabaseUnavailable(Unavailable):
    """Nobody answers, or PostgreSQL refuses, for a reason that passes."""

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
    except LOST as error:
        raise DatabaseUnavailable(UNAVAILABLE) from error


@event.listens_for(engine.sync_engine, "handle_error")
def give_up_connection(failed: ExceptionContext) -> None:
    error = failed.sqlalchemy_exception
    if isinstance(error, DBAPIError) and (why := classify(error)) and why.reconnect:
        failed.is_disconnect = True
        # Only this one. Each order that is refused would have all the others opened anew.
        failed.invalidate_pool_on_disconnect = False


@event.listens_for(engine.sync_engine, "checkout")
def refuse_closed(dbapi_connection: Any, record: Any, proxy: Any) -> None:
    """Instead of a ping, which took three round trips: the loop has seen whether it was closed."""
    if dbapi_connection.driver_connection.is_closed():
        raise DisconnectionError  # and the pool tries another one


@event.listens_for(engine.sync_engine, "before_cursor_execute", named=True)
def note_start(context: Any, **_: Any) -> None:
    context.started = time.time_ns()


@event.listens_for(engine.sync_engine, "after_cursor_execute", named=True)
def record_statement(statement: str, context: Any, **_: Any) -> None:
    tracing.record_span("postgresql", context.started, **{"db.query.text": statement})


@event.listens_for(engine.sync_engine, "handle_error")
def record_failure(failed: ExceptionContext) -> None:
    # Of what SQLAlchemy asks a new connection by itself, the start is not told.
    if started := getattr(failed.execution_context, "started", None):
        what = {"db.query.text": failed.statement, "error": str(failed.original_exception)}
        tracing.record_span("postgresql", started, **what)
