"""GroupCommit: one batch is under way, and all who come meanwhile share the next."""

import asyncio

import pytest
from app.sale.group_commit import GroupCommit

pytestmark = pytest.mark.anyio

Outcome = int | BaseException


class Till:
    """Commits numbers, to their negatives, as soon as it is let. It remembers the batches."""

    def __init__(self, limit: int = 256) -> None:
        self.batches: list[list[int]] = []
        self.under_way = 0
        self.open = asyncio.Event()
        self.sales = GroupCommit(self.commit, limit)

    async def commit(self, numbers: list[int]) -> list[int | Exception]:
        self.batches.append(numbers)
        self.under_way += 1
        assert self.under_way == 1, "two batches at once"
        try:
            await self.open.wait()
            await asyncio.sleep(0)
            if 0 in numbers:
                raise OSError("gone")
            return [-number if number < 100 else ValueError(number) for number in numbers]
        finally:
            self.under_way -= 1

    async def wait(self, *numbers: int) -> list[asyncio.Task[int]]:
        """Callers who have come, and wait."""
        callers = [asyncio.create_task(self.sales.load(number)) for number in numbers]
        for _ in range(5):  # turns of the loop: they ask, a batch is sent
            await asyncio.sleep(0)
        return callers

    async def outcomes(self, callers: list[asyncio.Task[int]]) -> list[Outcome]:
        self.open.set()
        async with asyncio.timeout(5):
            return await asyncio.gather(*callers, return_exceptions=True)


async def test_callers_of_one_turn_share_a_batch_at_once() -> None:
    till = Till()
    callers = await till.wait(3, 1, 2)
    assert till.batches == [[3, 1, 2]], "there is nothing to wait for"
    assert await till.outcomes(callers) == [-3, -1, -2]


async def test_who_comes_while_a_batch_is_under_way_shares_the_next() -> None:
    till = Till()
    callers = await till.wait(1)
    for number in (4, 2, 3):  # one turn after the other
        callers += await till.wait(number)
    assert till.batches == [[1]]
    assert await till.outcomes(callers) == [-1, -4, -2, -3]
    assert till.batches == [[1], [4, 2, 3]], "in the order in which they came"


async def test_a_batch_has_a_limit_and_the_rest_follows() -> None:
    till = Till(limit=2)
    callers = await till.wait(1, 2, 3)
    callers += await till.wait(4, 5)
    assert till.batches == [[1, 2]], "one batch at a time, however many wait"
    assert await till.outcomes(callers) == [-1, -2, -3, -4, -5]
    assert till.batches == [[1, 2], [3, 4], [5]]


async def test_cancelled_caller_is_left_out() -> None:
    till = Till()
    callers = await till.wait(1)
    callers += await till.wait(2, 3)
    callers[1].cancel()
    outcomes = await till.outcomes(callers)
    assert isinstance(outcomes.pop(1), asyncio.CancelledError)
    assert (outcomes, till.batches) == ([-1, -3], [[1], [3]])


async def test_caller_cancelled_during_the_commit_costs_others_nothing() -> None:
    till = Till()
    callers = await till.wait(1, 2)
    callers[0].cancel()
    outcomes = await till.outcomes(callers)
    assert isinstance(outcomes.pop(0), asyncio.CancelledError)
    assert (outcomes, till.batches) == ([-2], [[1, 2]])


async def test_batch_of_cancelled_callers_is_not_sent_and_the_next_is() -> None:
    till = Till(limit=2)
    callers = await till.wait(1)
    callers += await till.wait(2, 3)
    for gone in callers[1:]:
        gone.cancel()
    callers += await till.wait(4)
    outcomes = await till.outcomes(callers)
    assert (outcomes[0], outcomes[-1]) == (-1, -4)
    assert till.batches == [[1], [4]]


async def test_failed_batch_fails_for_all_its_callers_and_no_others() -> None:
    till = Till()
    callers = await till.wait(1)
    callers += await till.wait(2, 0)
    till.open.set()
    assert await callers[0] == -1
    later = await till.wait(3)
    assert [repr(one) for one in await till.outcomes(callers[1:] + later)] == [
        "OSError('gone')",
        "OSError('gone')",
        "-3",
    ]


async def test_those_who_wait_for_a_batch_that_fails_are_served_by_the_next() -> None:
    """Even if one of its callers has left meanwhile."""
    till = Till()
    callers = await till.wait(3, 0)
    callers += await till.wait(1)
    callers.pop(0).cancel()
    assert [str(one) for one in await till.outcomes(callers)] == ["gone", "-1"]


async def test_an_exception_in_place_of_a_result_is_for_that_caller_alone() -> None:
    till = Till()
    callers = await till.wait(1, 100, 2)
    assert [repr(one) for one in await till.outcomes(callers)] == ["-1", "ValueError(100)", "-2"]


async def test_after_a_pause_it_starts_again() -> None:
    till = Till()
    for number in (1, 2, 3):
        assert await till.outcomes(await till.wait(number)) == [-number]
    assert till.batches == [[1], [2], [3]]


async def test_who_comes_as_the_last_batch_ends_is_not_forgotten() -> None:
    """At whatever turn of the loop they come."""
    for turns in range(10):
        till = Till()
        till.open.set()
        first = asyncio.create_task(till.sales.load(1))
        for _ in range(turns):
            await asyncio.sleep(0)
        second = asyncio.create_task(till.sales.load(2))
        assert await till.outcomes([first, second]) == [-1, -2]
