"""Batches: who asks in the same turn of the loop is answered together (the data-loader pattern)."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Got = TypeVar("Got")


class Batch(Generic[Asked, Got]):
    """Turns a function that answers many into one that answers one.

    Where it gives an exception in place of an answer, only who asked for that one gets it.

    Nobody waits for a batch to fill: it goes out as soon as everybody who is there has asked. The
    busier it gets, the more that are.
    """

    def __init__(
        self,
        answer_many: Callable[[list[Asked]], Awaitable[Sequence[Got | Exception]]],
        limit: int = 256,
    ) -> None:
        self.answer_many = answer_many
        self.limit = limit
        self.waiting: list[tuple[Asked, asyncio.Future[Got]]] = []
        self.under_way: set[asyncio.Task[None]] = set()

    async def ask(self, asked: Asked) -> Got:
        loop = asyncio.get_running_loop()
        if not self.waiting:
            loop.call_soon(self.send)  # behind all that are about to ask in this turn
        future: asyncio.Future[Got] = loop.create_future()
        self.waiting.append((asked, future))
        return await future

    def send(self) -> None:
        waiting, self.waiting = self.waiting, []
        for start in range(0, len(waiting), self.limit):
            task = asyncio.create_task(self.answer(waiting[start : start + self.limit]))
            self.under_way.add(task)
            task.add_done_callback(self.under_way.discard)

    async def answer(self, some: list[tuple[Asked, asyncio.Future[Got]]]) -> None:
        futures = [future for _, future in some]
        try:
            got = await self.answer_many([asked for asked, _ in some])
        except Exception as error:
            for future in futures:
                if not future.done():  # somebody may have gone away
                    future.set_exception(error)
        else:
            for future, one in zip(futures, got, strict=True):
                if future.done():
                    continue
                if isinstance(one, Exception):
                    future.set_exception(one)
                else:
                    future.set_result(one)
