"""What only the service itself can count: it marks each event with a line in its log.

The code in `injected/` writes the markers. It slows the service down, so each such counter has a
run of its own, one request at a time.
"""

import re
from pathlib import Path
from typing import Self

from surge.count.source import Counters, Load, Source

SLOW_CALLBACKS = "loop.slow_callbacks"
INJECTED = {
    SLOW_CALLBACKS: {"PYTHONASYNCIODEBUG": "1"},
    "orm.instances": {"SURGE_COUNT_ORM": "1"},
    "app.connections": {"SURGE_COUNT_CONNECTIONS": "1"},
}
"""The counters that need injected code, and the settings that make it write its markers."""
MARKERS = {
    SLOW_CALLBACKS: re.compile(r"Executing .* took [\d.]+ seconds"),  # asyncio's own words
    "orm.instances": re.compile(r"^orm instance$", re.MULTILINE),
    "app.connections": re.compile(r"^connection$", re.MULTILINE),
}


def injection(counter: str) -> dict[str, str]:
    """The settings with which the service helps to count this; empty if it need not."""
    if counter not in INJECTED:
        return {}
    return {**INJECTED[counter], "PYTHONPATH": str(Path(__file__).parent / "injected")}


def count_markers(log: str) -> dict[str, int]:
    """How many markers of each counter there are in a log."""
    return {counter: len(marker.findall(log)) for counter, marker in MARKERS.items()}


class MarkerCount(Source):
    """The markers that the service has written during the load."""

    def __enter__(self) -> Self:
        self._before = count_markers(self.system.service.output())
        return self

    def collect(self, load: Load) -> Counters:
        """`loop.slow_callbacks`, `app.connections`, and `orm.instances` per request."""
        after = count_markers(self.system.service.output())
        counters: Counters = {name: after[name] - self._before[name] for name in MARKERS}
        counters["orm.instances"] /= load.requests
        return counters
