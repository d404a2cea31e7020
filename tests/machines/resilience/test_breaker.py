"""The circuit breaker: closed, open, half-open, and a clock that the test turns."""

from contextlib import suppress
from types import SimpleNamespace

import pytest
from app.resilience import breakers
from app.resilience.breakers import Breaker, BreakerOpen
from app.settings import settings

CALLS, PAUSE = settings.breaker_calls, settings.breaker_pause


class Failed(Exception): ...


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    clock = SimpleNamespace(now=0.0)
    monkeypatch.setattr(breakers, "time", SimpleNamespace(monotonic=lambda: clock.now))
    return clock


def call(breaker: Breaker, fails: bool = False, had_full_timeout: bool = True) -> None:
    with suppress(Failed), breaker.protect(had_full_timeout):
        if fails:
            raise Failed


def test_it_opens_when_half_of_the_last_calls_failed() -> None:
    breaker = Breaker("meridian")
    for number in range(CALLS - 1):
        call(breaker, fails=number % 2 == 1)  # one less than half
    call(breaker)
    call(breaker, fails=True)  # in place of a success at the beginning
    with pytest.raises(BreakerOpen):
        call(breaker)


def test_failures_without_the_full_timeout_do_not_count() -> None:
    breaker = Breaker("meridian")
    for _ in range(2 * CALLS):
        call(breaker, fails=True, had_full_timeout=False)
    call(breaker)


def test_after_the_pause_a_single_probe_decides(clock: SimpleNamespace) -> None:
    breaker = Breaker("meridian")
    for _ in range(CALLS // 2):
        call(breaker, fails=True)
    clock.now = PAUSE
    call(breaker, fails=True)  # the probe: another pause
    clock.now = 2 * PAUSE - 0.1
    with pytest.raises(BreakerOpen):
        call(breaker)
    clock.now = 2 * PAUSE
    with breaker.protect(), pytest.raises(BreakerOpen):
        call(breaker)  # while the probe is in flight
    call(breaker)  # the probe has succeeded
