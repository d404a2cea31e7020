"""The adaptive concurrency limit: it grows by steps, and shrinks when every delay is too long."""

import pytest
from app.resilience.limit import AdaptiveConcurrencyLimit
from app.settings import settings

LEAST, MOST, STEP = settings.limit_least, settings.limit_most, settings.limit_step


@pytest.fixture
def limit() -> AdaptiveConcurrencyLimit:
    return AdaptiveConcurrencyLimit()


def fill(limit: AdaptiveConcurrencyLimit) -> int:
    """Acquire all places that there are, and release them."""
    taken = 0
    while limit.try_acquire():
        taken += 1
    for _ in range(taken):
        limit.release()
    return taken


def test_it_admits_as_many_as_the_limit(limit: AdaptiveConcurrencyLimit) -> None:
    assert fill(limit) == MOST
    assert fill(limit) == MOST, "a place was not given back"


def test_it_shrinks_at_once_and_grows_step_by_step(limit: AdaptiveConcurrencyLimit) -> None:
    fill(limit)
    limit.observe_delay("loop", 2.0)  # twice as long as is tolerable
    limit.adjust()
    smaller = limit.limit
    assert smaller == pytest.approx(MOST * 0.9 / 2)
    limit.adjust()
    limit.adjust()
    assert limit.limit == smaller + 2 * STEP
    for _ in range(MOST):
        limit.adjust()
    assert limit.limit == MOST


def test_a_burst_does_not_shrink_it(limit: AdaptiveConcurrencyLimit) -> None:
    for delay in (50.0, 0.5, 50.0):  # one turn in time: the queue was empty once
        limit.observe_delay("loop", delay)
    limit.adjust()
    assert limit.limit == MOST


def test_any_queue_that_stands_shrinks_it_but_never_below_the_least(
    limit: AdaptiveConcurrencyLimit,
) -> None:
    for _ in range(10):
        fill(limit)
        limit.observe_delay("loop", 0.0)
        limit.observe_delay("pool", 50.0)
        limit.adjust()
    assert limit.limit == LEAST
