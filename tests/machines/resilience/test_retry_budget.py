"""Retries: a few for a single failure, hardly any when everything fails."""

import asyncio
from types import SimpleNamespace

import pytest
from app.resilience import retries
from app.resilience.retries import RetryBudget, retry
from app.settings import settings

BURST, SHARE = settings.retry_burst, settings.retry_share


class Unavailable(Exception): ...


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Pauses take no time: they are listed. The budget is full."""
    pauses: list[float] = []

    async def sleep(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr(retries, "asyncio", SimpleNamespace(sleep=sleep))
    monkeypatch.setattr(retries, "budget", RetryBudget())
    return pauses


def read(*outcomes: Exception | str) -> str:
    """Make a call that ends in these ways, one after the other."""
    left = iter(outcomes)

    async def call() -> str:
        outcome = next(left)
        if isinstance(outcome, Exception):
            raise outcome
        return outcome

    return asyncio.run(retry(call, lambda error: isinstance(error, Unavailable)))


def test_each_pause_is_longer_and_none_is_exact(pauses: list[float]) -> None:
    assert read(Unavailable(), Unavailable(), Unavailable(), "found") == "found"
    for pause, least in zip(pauses, (0.05, 0.1, 0.2), strict=True):
        assert least < pause <= least + retries.JITTER


def test_a_bug_is_not_retried(pauses: list[float]) -> None:
    with pytest.raises(ZeroDivisionError):
        read(ZeroDivisionError(), "found")
    assert pauses == []


def test_in_the_long_run_retries_are_a_share_of_all_calls(pauses: list[float]) -> None:
    for _ in range(1000):
        with pytest.raises(Unavailable):
            read(*[Unavailable()] * (1 + settings.retries))
    assert 1000 * SHARE <= len(pauses) <= BURST + 1000 * SHARE
