"""The data-loader pattern: all keys asked for while a batch is under way become the next one."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from contextvars import Context
from typing import Generic, TypeVar

Key = TypeVar("Key")
Value = TypeVar("Value")


class DataLoader(Generic[Key, Value]):
    """Turns a function for many keys into one for a single key.

    The function returns a value for each key, in their order, or an exception for a key that has
    none. No timer waits for a batch to fill: the longer one takes, the more keys share the next.
    """

    patience: float | None = 0.1
    """Seconds that a batch may hold up the next: its connection may have died."""

    def __init__(
        self,
        load_many: Callable[[list[Key]], Awaitable[Sequence[Value | Exception]]],
        limit: int = 256,
    ) -> None:
        self.load_many = load_many
        self.limit = limit
        self.waiting: list[tuple[Key, asyncio.Future[Value]]] = []
        self.tasks: set[asyncio.Task[None]] = set()
        self.is_sending = False

    async def load(self, key: Key) -> Value:
        loop = asyncio.get_running_loop()
        if not self.waiting:
            loop.call_soon(self.send)  # after all tasks that are about to run in this turn
        future: asyncio.Future[Value] = loop.create_future()
        self.waiting.append((key, future))
        return await future

    def send(self) -> None:
        if not self.is_sending:  # otherwise the batch under way is followed by the next
            self.is_sending = True
            self.start(self.send_all())

    async def send_all(self) -> None:
        while self.waiting:
            batch, self.waiting = self.waiting[: self.limit], self.waiting[self.limit :]
            await asyncio.wait([self.start(self.load_batch(batch))], timeout=self.patience)
        self.is_sending = False

    def start(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        task = asyncio.create_task(work, context=Context())  # not in the name of one request
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return task

    async def load_batch(self, batch: list[tuple[Key, asyncio.Future[Value]]]) -> None:
        batch = [one for one in batch if not one[1].done()]
        if not batch:
            return  # all callers were cancelled
        futures = [future for _, future in batch]
        try:
            values = await self.load_many([key for key, _ in batch])
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
