"""How a worker talks to the queue: through connections that may be cut, or die without a word."""

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

Got = TypeVar("Got")


def in_time() -> asyncio.Timeout:
    """Nothing else ends the wait for an answer on a connection that is dead and does not say so."""
    return asyncio.timeout(settings.job_database_timeout)


class Connector(procrastinate.PsycopgConnector):
    """Goes on when a connection is lost. By itself, procrastinate goes on deaf, or leaves a job
    that is done marked as under way for as long as its worker lives.

    A query whose answer was lost may have been executed. Only those are repeated that change
    nothing the second time: a heartbeat, and the end of a job, which the queue knows by then.
    """

    async def execute_query_async(self, query: LiteralString, **arguments: Any) -> None:
        for pause in (0.1, 1.0, 5.0):
            try:
                return await self.answer_to(super().execute_query_async(query, **arguments))
            except ConnectorException as error:
                if isinstance(error.__cause__, psycopg.errors.RaiseException):
                    raise  # the queue itself has answered, and the answer is no
            await asyncio.sleep(pause)
        return await self.answer_to(super().execute_query_async(query, **arguments))

    async def execute_query_one_async(
        self, query: LiteralString, **arguments: Any
    ) -> dict[str, Any]:
        return await self.answer_to(super().execute_query_one_async(query, **arguments))

    async def execute_query_all_async(
        self, query: LiteralString, **arguments: Any
    ) -> list[dict[str, Any]]:
        return await self.answer_to(super().execute_query_all_async(query, **arguments))

    async def answer_to(self, query: Awaitable[Got]) -> Got:
        try:
            async with in_time():
                return await query
        except TimeoutError as error:
            raise ConnectorException from error
        except ConnectorException as error:
            if isinstance(error.__cause__, psycopg.errors.ReadOnlySqlTransaction):
                await self.pool.drain()  # after a failover, its connections lead to the standby
            raise

    async def listen_notify(self, on_notification: Notify, channels: Iterable[str]) -> None:
        while True:
            with suppress(ConnectorException):  # meanwhile the worker looks by itself, now and then
                await super().listen_notify(on_notification, channels)
            await asyncio.sleep(1)


class Manager(JobManager):
    """A heartbeat that failed would be the last one: procrastinate goes on without, and other
    workers do the jobs of this one again, for as long as it lives."""

    async def update_heartbeat(self, worker_id: int) -> None:
        try:
            await super().update_heartbeat(worker_id)
        except ConnectorException as error:  # the next one is due soon
            log.warning("no heartbeat", error=repr(error))


connector = Connector(
    conninfo=settings.database_url,
    kwargs={
        "connect_timeout": math.ceil(settings.job_database_timeout),  # in whole seconds
        # The connection that listens waits on purpose. If the network is gone, the system ends it.
        "tcp_user_timeout": math.ceil(settings.job_database_timeout * 1000),
    },
    min_size=1,
    max_size=settings.job_connections,
)
queue = procrastinate.App(connector=connector)
queue.job_manager = Manager(connector)
