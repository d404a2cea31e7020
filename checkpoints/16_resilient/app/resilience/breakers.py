"""The circuit breaker: a partner that fails again and again is not called for a while."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from app.settings import settings
from app.telemetry import metrics


class BreakerOpen(Exception):
    """Not called, since it would most likely fail."""


class Breaker:
    """Closed, it lets all calls through. Open, it lets none. Then one call decides (half-open).

    It opens when half of the last calls have failed: a single failure is no reason.
    """

    def __init__(self, partner: str) -> None:
        metrics.breaker_open.labels(partner).set_function(lambda: self.opened_at is not None)
        self.outcomes: deque[bool] = deque(maxlen=settings.breaker_calls)
        self.opened_at: float | None = None
        self.is_probing = False

    @contextmanager
    def protect(self, had_full_timeout: bool = True) -> Iterator[None]:
        """Around a call. A failure counts only if the partner had all the time it may take."""
        is_probe = self.opened_at is not None
        if self.opened_at is not None:
            if self.is_probing or time.monotonic() < self.opened_at + settings.breaker_pause:
                raise BreakerOpen
            self.is_probing = True
        try:
            yield
        except Exception:
            if had_full_timeout:
                self.record(False, is_probe)
            raise
        else:
            self.record(True, is_probe)
        finally:  # also when the call is cancelled, which says nothing of the partner
            if is_probe:
                self.is_probing = False

    def record(self, succeeded: bool, is_probe: bool) -> None:
        if is_probe:
            self.opened_at = None if succeeded else time.monotonic()
        elif self.opened_at is None:  # otherwise the call was made before the breaker opened
            self.outcomes.append(succeeded)
            if 2 * self.outcomes.count(False) >= settings.breaker_calls:
                self.opened_at = time.monotonic()
                self.outcomes.clear()
