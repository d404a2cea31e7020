"""DataLoader: all keys asked for while a batch is under way become the next one."""

import asyncio

import pytest
from app.data_loader import DataLoader

pytestmark = pytest.mark.anyio


class Squares:
    """Loads squares of numbers. It remembers which were asked for together."""

    def __init__(self, limit: int = 256) -> None:
        self.batches: list[list[int]] = []
        self.one_more = asyncio.Condition()
        self.released = asyncio.Event()
        self.released.set()
        self.loader = DataLoader(self.load_many, limit)

    async def load_many(self, numbers: list[int]) -> list[int | Exception]:
        self.batches.append(numbers)
        async with self.one_more:
            self.one_more.notify_all()
        await self.released.wait()
        if 0 in numbers:
            raise OSError("gone")
        return [n * n if n > 0 else ValueError(n) for n in numbers]

    async def begun(self, count: int) -> None:
        """Wait until so many batches have begun."""
        async with self.one_more:
            await self.one_more.wait_for(lambda: len(self.batches) >= count)

    async def load(self, *numbers: int) -> list[int | BaseException]:
        return await asyncio.gather(*map(self.loader.load, numbers), return_exceptions=True)


async def test_keys_asked_for_at_once_become_one_batch() -> None:
    squares = Squares()
    assert await squares.load(3, 1, 2) == [9, 1, 4]
    assert await squares.load(1) == [1], "a lone key does not wait for others"
    assert squares.batches == [[3, 1, 2], [1]]


async def test_a_batch_has_a_limit() -> None:
    squares = Squares(limit=2)
    assert await squares.load(1, 2, 3) == [1, 4, 9]
    assert squares.batches == [[1, 2], [3]]


async def test_an_exception_in_place_of_a_value_is_for_that_key_alone() -> None:
    squares = Squares()
    good = asyncio.create_task(squares.loader.load(1))
    with pytest.raises(ValueError, match="-2"):
        await squares.loader.load(-2)
    assert (await good, squares.batches) == (1, [[-2, 1]])


async def test_a_failed_batch_fails_for_all_its_keys() -> None:
    assert [str(outcome) for outcome in await Squares().load(0, 1)] == ["gone", "gone"]


async def test_the_key_of_a_cancelled_caller_is_not_loaded() -> None:
    squares = Squares()
    gone, stays = (asyncio.create_task(squares.loader.load(number)) for number in (1, 2))
    await asyncio.sleep(0)  # both have asked, and the batch is about to be sent
    gone.cancel()
    assert await stays == 4
    assert squares.batches == [[2]]


async def test_keys_asked_for_while_a_batch_is_under_way_share_the_next() -> None:
    squares = Squares()
    squares.released.clear()
    callers = [asyncio.create_task(squares.load(1))]
    for number in (2, 3, 4):
        await asyncio.sleep(0.01)
        callers.append(asyncio.create_task(squares.load(number)))
    await asyncio.sleep(0.01)
    squares.released.set()
    assert await asyncio.gather(*callers) == [[1], [4], [9], [16]]
    assert squares.batches == [[1], [2, 3, 4]]


async def test_a_batch_that_never_ends_does_not_hold_up_the_next_for_ever() -> None:
    squares = Squares()
    squares.released.clear()
    stuck = asyncio.create_task(squares.load(1))
    await asyncio.sleep(0.01)
    other = asyncio.create_task(squares.load(2))
    async with asyncio.timeout(5):
        await squares.begun(2)
    assert squares.batches == [[1], [2]]
    squares.released.set()
    assert await asyncio.gather(stuck, other) == [[1], [4]]
