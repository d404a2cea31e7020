"""The shape of a surge: calm, within a second ten times as many shoppers, calm again.

Load testing calls this a spike test. It asks two things: what becomes of the shoppers while there
are too many of them, and how soon the service is well again when they have left.
"""

from dataclasses import dataclass

from stack.errors import StackError

HEIGHT, SECONDS = 200, 30
"""How many shoppers and how long, for those who do not say."""
TIMES = 10
NAMES = ["calm", "surge", "calm after"]


@dataclass(frozen=True)
class Phase:
    """A part of the time, in seconds since the first shopper came, and how many are there."""

    name: str
    begins: int
    ends: int
    shoppers: int

    @property
    def title(self) -> str:
        """Its name and its crowd: `calm, 20 shoppers`."""
        return f"{self.name}, {self.shoppers:,} shopper{'s' * (self.shoppers != 1)}"


def phases(height: int, seconds: int) -> list[Phase]:
    """The three phases of a surge that is so high and takes so long, each a third of the time.

    Raises:
        StackError: there is no time for three phases.
    """
    if seconds < len(NAMES):
        raise StackError("A surge takes 3 seconds at least: calm, surge, calm after.")
    edges = [seconds * place // len(NAMES) for place in range(len(NAMES) + 1)]
    calm = max(1, height // TIMES)
    return [
        Phase(name, begins, ends, height if name == "surge" else calm)
        for name, begins, ends in zip(NAMES, edges, edges[1:], strict=False)
    ]


def shoppers(height: int, seconds: int, passed: float) -> int | None:
    """How many shoppers there should be after so many seconds; None when all is over."""
    left = (phase.shoppers for phase in phases(height, seconds) if passed < phase.ends)
    return next(left, None)
