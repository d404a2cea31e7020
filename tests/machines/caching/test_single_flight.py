"""SingleFlight: concurrent calls for the same key share one fetch."""

import asyncio

import pytest
from app.caching.tiers import SingleFlight

pytestmark = pytest.mark.anyio


class Shop:
    """A single flight in front of a slow fetch, which counts its calls."""

    def __init__(self) -> None:
        self.flights = SingleFlight[int]()
        self.calls, self.done, self.fails = 0, 0, False

    async def fetch(self) -> int:
        call = self.calls = self.calls + 1
        await asyncio.sleep(0.01)
        assert not self.fails, "gone"
        self.done += 1
        return call

    async def callers(self, number: int) -> list["asyncio.Task[int]"]:
        calls = [asyncio.create_task(self.flights.run("key", self.fetch)) for _ in range(number)]
        await asyncio.sleep(0)  # now they wait
        return calls


async def test_concurrent_calls_share_one_fetch() -> None:
    shop = Shop()
    for call in (1, 2):  # the second time it is fetched again: this is no cache
        assert await asyncio.gather(*await shop.callers(3)) == [call] * 3


async def test_a_cancelled_caller_does_not_cancel_the_fetch_of_the_others() -> None:
    first, second = await Shop().callers(2)
    first.cancel()
    assert await second == 1


async def test_a_fetch_without_callers_is_cancelled() -> None:
    [only] = await (shop := Shop()).callers(1)
    only.cancel()
    await asyncio.sleep(0.05)
    assert (shop.calls, shop.done, shop.flights.flights) == (1, 0, {})


async def test_a_failed_fetch_fails_for_all_and_is_not_remembered() -> None:
    shop = Shop()
    shop.fails = True
    outcomes = await asyncio.gather(*await shop.callers(3), return_exceptions=True)
    assert [type(outcome) for outcome in outcomes] == [AssertionError] * 3
    shop.fails = False
    assert await asyncio.gather(*await shop.callers(1)) == [2]


async def test_a_fetch_that_was_invalidated_is_not_joined() -> None:
    early = await (shop := Shop()).callers(1)
    shop.flights.flights.pop("key")  # as `invalidate` does: this fetch may have seen an old row
    assert await asyncio.gather(*early, *await shop.callers(1)) == [1, 2]
