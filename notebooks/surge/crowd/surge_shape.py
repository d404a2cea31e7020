"""The shape of a surge: calm, within a second ten times as many shoppers, calm again.

Load testing calls this a spike test. It answers two questions: what do shoppers meet while there
are too many of them, and how soon does the service recover when they have left?
"""

from dataclasses import dataclass

from stack.errors import StackError

PEAK_SHOPPERS, SECONDS = 200, 30
"""How many shoppers and how long, by default."""
SURGE_FACTOR = 10
NAMES = ["calm", "surge", "calm after"]


@dataclass(frozen=True)
class Phase:
    """A part of the time, in seconds since the first shopper came, and its number of shoppers."""

    name: str
    begins: int
    ends: int
    shoppers: int

    @property
    def title(self) -> str:
        """Its name and its crowd: `calm, 20 shoppers`."""
        return f"{self.name}, {self.shoppers:,} shopper{'s' * (self.shoppers != 1)}"


def phases(peak: int, seconds: int) -> list[Phase]:
    """The three phases of a surge, each a third of the time.

    Args:
        peak: how many shoppers there are in the middle phase.
        seconds: how long the surge takes.

    Raises:
        StackError: there is no time for three phases.
    """
    if seconds < len(NAMES):
        raise StackError("A surge takes 3 seconds at least: calm, surge, calm after.")
    edges = [seconds * place // len(NAMES) for place in range(len(NAMES) + 1)]
    calm = max(1, peak // SURGE_FACTOR)
    return [
        Phase(name, begins, ends, peak if name == "surge" else calm)
        for name, begins, ends in zip(NAMES, edges, edges[1:], strict=False)
    ]


def shoppers(peak: int, seconds: int, passed: float) -> int | None:
    """How many shoppers there should be after so many seconds; None at the end of the surge."""
    current = (phase.shoppers for phase in phases(peak, seconds) if passed < phase.ends)
    return next(current, None)
