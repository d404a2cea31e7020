"""How a worker talks to the queue: over connections that may be cut, or die unnoticed."""

import asyncio
import math
from collections.abc import Awaitable, Iterable
from contextlib import suppress
from typing import Any, LiteralString, TypeVar

import procrastinate
import psycopg
from procrastinate.connector import Notify
from procrastinate.exceptions import ConnectorException
from procrastinate.manager import JobManager

from app.logs import log
from app.settings import settings

Result = TypeVar("Result")


def database_timeout() -> asyncio.Timeout:
    """Without it, a query on a connection that has died unnoticed would wait for ever."""
    return asyncio.timeout(settings.job_database_timeout)


class ReconnectingConnector(procrastinate.PsycopgConnector):
    """Goes on after a lost connection. procrastinate's own connector stops listening, or leaves a
    finished job marked as `doing` for as long as its worker lives."""

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        """A heartbeat, or the end of a job. A query whose answer was lost may have been executed.
        These two change nothing the second time, so they are retried."""
        for pause in (0.1, 1.0, 5.0):
            try:
                return await self.with_timeout(super().execute_query_async(query, **arguments))
            except ConnectorException as error:
                if isinstance(error.__cause__, psycopg.errors.RaiseException):
                    raise  # the queue has answered: it refuses
            await asyncio.sleep(pause)
        return await self.with_timeout(super().execute_query_async(query, **arguments))

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        return await self.with_timeout(super().execute_query_one_async(query, **arguments))

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        return await self.with_timeout(super().execute_query_all_async(query, **arguments))

    async def with_timeout(self, query: Awaitable[Result]) -> Result:
        try:
            async with database_timeout():
                return await query
        except TimeoutError as error:
            raise ConnectorException from error
        except ConnectorException as error:
            if isinstance(error.__cause__, psycopg.errors.ReadOnlySqlTransaction):
                await self.pool.drain()  # after a failover, its connections lead to the standby
            raise

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        while True:
            with suppress(ConnectorException):  # until it listens again, the worker polls
                await super().listen_notify(on_notification, channels)
            await asyncio.sleep(1)


class ReliableJobManager(JobManager):
    """Goes on after a failed heartbeat. procrastinate would send no more of them, and other workers
    would do this one's jobs again, for as long as it lives."""

    async def update_heartbeat(self, worker_id: int) -> None:
        try:
            await super().update_heartbeat(worker_id)
        except ConnectorException as error:  # the next one is due soon
            log.warning("no heartbeat", error=repr(error))


connector = ReconnectingConnector(
    conninfo=settings.database_url,
    kwargs={
        "connect_timeout": math.ceil(settings.job_database_timeout),  # in whole seconds
        # The connection that listens waits on purpose. If the network is gone, the system ends it.
        "tcp_user_timeout": math.ceil(settings.job_database_timeout * 1000),
    },
    min_size=1,
    max_size=settings.job_connections,
)
procrastinate_app = procrastinate.App(connector=connector)
procrastinate_app.job_manager = ReliableJobManager(connector)
