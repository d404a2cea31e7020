"""The circuit breaker: who has failed again and again is left alone for a while."""

import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from app.settings import settings
from app.telemetry import metrics


class BreakerOpen(Exception):
    """Not asked, since it would most likely fail."""


class Breaker:
    """Closed, it watches. Open, it lets nobody through. Then one call decides (half-open).

    It opens when half of the last calls have failed: a single failure is no reason.
    """

    def __init__(self, partner: str) -> None:
        metrics.breaker_open.labels(partner).set_function(lambda: self.opened_at is not None)
        self.outcomes: deque[bool] = deque(maxlen=settings.breaker_calls)
        self.opened_at: float | None = None
        self.probing = False

    @contextmanager
    def watch(self, fair: bool = True) -> Iterator[None]:
        """A call. That it fails says something only if it had a fair chance."""
        probe = self.opened_at is not None
        if self.opened_at is not None:
            if self.probing or time.monotonic() < self.opened_at + settings.breaker_pause:
                raise BreakerOpen
            self.probing = True
        try:
            yield
        except Exception:
            if fair:
                self.note(False, probe)
            raise
        else:
            self.note(True, probe)
        finally:  # also when the caller has gone, which says nothing
            if probe:
                self.probing = False

    def note(self, worked: bool, probe: bool) -> None:
        if probe:
            self.opened_at = None if worked else time.monotonic()
        elif self.opened_at is None:  # otherwise it was called before the breaker opened
            self.outcomes.append(worked)
            if 2 * self.outcomes.count(False) >= settings.breaker_calls:
                self.opened_at = time.monotonic()
                self.outcomes.clear()
