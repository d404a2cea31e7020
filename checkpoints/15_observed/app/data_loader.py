"""The data-loader pattern: all keys asked for in one turn of the event loop become one batch."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

from opentelemetry.trace import Span

from app.telemetry import tracing

Key = TypeVar("Key")
Value = TypeVar("Value")


class DataLoader(Generic[Key, Value]):
    """Turns a function for many keys into one for a single key.

    The function returns a value for each key, in their order, or an exception for a key that has
    none. No timer waits for a batch to fill: a busier loop makes larger batches by itself.
    """

    def __init__(
        self,
        load_many: Callable[[list[Key]], Awaitable[Sequence[Value | Exception]]],
        limit: int = 256,
    ) -> None:
        self.load_many = load_many
        self.limit = limit
        self.waiting: list[tuple[Key, asyncio.Future[Value], Span | None]] = []
        self.tasks: set[asyncio.Task[None]] = set()

    async def load(self, key: Key) -> Value:
        loop = asyncio.get_running_loop()
        if not self.waiting:
            loop.call_soon(self.send)  # after all tasks that are about to run in this turn
        future: asyncio.Future[Value] = loop.create_future()
        self.waiting.append((key, future, tracing.current_span()))
        return await future

    def send(self) -> None:
        waiting, self.waiting = self.waiting, []
        for start in range(0, len(waiting), self.limit):
            task = asyncio.create_task(self.load_batch(waiting[start : start + self.limit]))
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def load_batch(self, batch: list[tuple[Key, asyncio.Future[Value], Span | None]]) -> None:
        batch = [one for one in batch if not one[1].done()]
        if not batch:
            return  # all callers were cancelled
        futures = [future for _, future, _ in batch]
        spans = [span for _, _, span in batch if span]
        try:
            with tracing.batch_span(spans, f"{self.load_many.__name__} ({len(batch)})"):
                values = await self.load_many([key for key, _, _ in batch])
        except Exception as error:
            for future in futures:
                if not future.done():  # it is, if its caller was cancelled
                    future.set_exception(error)
        else:
            for future, value in zip(futures, values, strict=True):
                if future.done():
                    continue
                if isinstance(value, Exception):
                    future.set_exception(value)
                else:
                    future.set_result(value)
