"""Group commit: whoever comes while a batch is being committed shares the next one."""

import asyncio
from typing import TypeVar

from app.data_loader import DataLoader

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(DataLoader[Item, Result]):
    """A data loader for writes: one batch at a time, in the order in which its items came.

    There is no timer here either. The longer a commit takes, the more items share the next one.
    """

    def send(self) -> None:
        if not self.tasks:  # otherwise the batch under way is followed by the next
            task = asyncio.create_task(self.send_all())
            self.tasks.add(task)
            task.add_done_callback(self.tasks.discard)

    async def send_all(self) -> None:
        while self.waiting:
            batch, self.waiting = self.waiting[: self.limit], self.waiting[self.limit :]
            await self.load_batch(batch)
