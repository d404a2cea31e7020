"""What happened when: every request of a crowd, cut into seconds.

Locust's own history keeps two digits of a time and looks back over ten seconds, which blurs a
surge. So every request is noted. It belongs, with its wait and its failure, to the second in which
it was asked; an answer belongs to the second in which it came.
"""

import json
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from surge.crowd.surge_shape import Phase, phases
from surge.results.stats import percentile

NOTES = "asks.json"
"""The file in which the crowd of a surge notes its requests."""


class Ask(NamedTuple):
    """One request of a shopper."""

    second: float
    """When it was asked, in seconds since the first shopper came."""
    milliseconds: float
    """How long the shopper waited: for the answer, or before giving up."""
    failed: bool


@dataclass(frozen=True)
class Stretch:
    """How the requests that were asked in some seconds fared."""

    begins: int
    ends: int
    requests: int
    failed: int
    answered: float
    """Good answers that came in these seconds, a second."""
    p50: float | None
    """In milliseconds; None when nobody asked. Who gave up waited too, and is counted."""
    p99: float | None


class Timeline:
    """A surge, second by second."""

    def __init__(self, height: int, seconds: int, asks: Iterable[Ask]) -> None:
        self.seconds = seconds
        self.phases = phases(height, seconds)
        self._asked: list[list[Ask]] = [[] for _ in range(seconds)]
        self._came: Counter[int] = Counter()
        for ask in asks:
            # Locust looks at the clock once a second, so a few still ask when the time is up.
            self._asked[min(int(ask.second), seconds - 1)].append(ask)
            if not ask.failed:
                self._came[int(ask.second + ask.milliseconds / 1000)] += 1

    def stretch(self, begins: int, ends: int) -> Stretch:
        """Some whole seconds of it, from `begins` up to `ends`."""
        asked = [ask for second in self._asked[begins:ends] for ask in second]
        waits = [ask.milliseconds for ask in asked]
        came = sum(self._came[second] for second in range(begins, ends))
        return Stretch(
            begins=begins,
            ends=ends,
            requests=len(asked),
            failed=sum(ask.failed for ask in asked),
            answered=came / (ends - begins),
            p50=percentile(waits, 50) if waits else None,
            p99=percentile(waits, 99) if waits else None,
        )

    def cut(self, begins: int, ends: int, step: int = 1) -> list[Stretch]:
        """The same, in pieces of so many seconds."""
        return [self.stretch(at, min(at + step, ends)) for at in range(begins, ends, step)]

    def by_phase(self) -> list[tuple[Phase, Stretch]]:
        """Every phase, with how the requests asked in it fared."""
        return [(phase, self.stretch(phase.begins, phase.ends)) for phase in self.phases]


def write(asks: Iterable[Ask], path: Path) -> None:
    """Keep requests in a file."""
    path.write_text(json.dumps(list(asks)), encoding="utf-8")


def read(path: Path) -> list[Ask]:
    """The requests kept in a file."""
    return [Ask(*ask) for ask in json.loads(path.read_bytes())]
