"""A surge over time: every request of a crowd, by the second.

Locust's own history keeps two digits of a time and averages over ten seconds, which blurs a surge.
So every request is recorded. A request, with its wait and its failure, belongs to the second in
which it was sent; an answer belongs to the second in which it came.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from surge.crowd.surge_shape import Phase, phases
from surge.results.stats import percentile

FILE = "requests.json"
"""Where the crowd of a surge records its requests."""


class TimedRequest(NamedTuple):
    """One request of a shopper."""

    second: float
    """When it was sent, in seconds since the first shopper came."""
    milliseconds: float
    """How long the shopper waited: for the answer, or before giving up."""
    failed: bool


@dataclass(frozen=True)
class Window:
    """How the requests that were sent in some seconds fared."""

    begins: int
    ends: int
    requests: int
    failed: int
    answered: float
    """Good answers that came in these seconds, per second."""
    p50: float | None
    """In milliseconds; None without requests. The wait of a shopper who gave up counts, too."""
    p99: float | None


class Timeline:
    """A surge, second by second."""

    def __init__(self, peak: int, seconds: int, requests: Iterable[TimedRequest]) -> None:
        self.seconds = seconds
        self.phases = phases(peak, seconds)
        self._sent: list[list[TimedRequest]] = [[] for _ in range(seconds)]
        self._answered: Counter[int] = Counter()
        for request in requests:
            # Locust checks the time once a second, so a few requests come after the end.
            self._sent[min(int(request.second), seconds - 1)].append(request)
            if not request.failed:
                self._answered[int(request.second + request.milliseconds / 1000)] += 1

    def window(self, begins: int, ends: int) -> Window:
        """Some whole seconds, from `begins` up to `ends`."""
        sent = [request for second in self._sent[begins:ends] for request in second]
        waits = [request.milliseconds for request in sent]
        answered = sum(self._answered[second] for second in range(begins, ends))
        return Window(
            begins=begins,
            ends=ends,
            requests=len(sent),
            failed=sum(request.failed for request in sent),
            answered=answered / (ends - begins),
            p50=percentile(waits, 50) if waits else None,
            p99=percentile(waits, 99) if waits else None,
        )

    def windows(self, begins: int, ends: int, step: int = 1) -> list[Window]:
        """The same seconds in windows of `step` each."""
        return [self.window(at, min(at + step, ends)) for at in range(begins, ends, step)]

    def by_phase(self) -> list[tuple[Phase, Window]]:
        """Every phase, and how the requests that were sent in it fared."""
        return [(phase, self.window(phase.begins, phase.ends)) for phase in self.phases]


def write(requests: Iterable[TimedRequest], path: Path) -> None:
    """Write requests to a file."""
    path.write_text(json.dumps(list(requests)), encoding="utf-8")


def read(path: Path) -> list[TimedRequest]:
    """The requests in a file."""
    return [TimedRequest(*values) for values in json.loads(path.read_bytes())]
