"""Group commit: whoever comes while a batch is being committed shares the next one."""

from typing import TypeVar

from app.data_loader import DataLoader

Item = TypeVar("Item")
Result = TypeVar("Result")


class GroupCommit(DataLoader[Item, Result]):
    """A data loader for writes: one batch at a time, however long it takes, in the order in which
    its items came."""

    patience = None
