"""What a step lost: on which workloads a request was cheaper at an earlier step."""

from collections.abc import Sequence
from typing import NamedTuple

from surge.measure import ladder
from surge.results.rows import Row

WORKLOADS = ("hot", "list", "detail", "cold", "offers", "orders", "sale")
"""Every step is measured on these."""
LOSS = 1.25
"""So many times the cheapest step's cost is a loss; less may be noise of the ratios in between."""


class Cost(NamedTuple):
    """What a request costs at a step, against the cheapest step before."""

    workload: str
    best: str
    """The label of the cheapest step before."""
    factor: float
    """So many times as much CPU time as there."""

    @property
    def is_loss(self) -> bool:
        """Whether the chapter has to tell of it."""
        return self.factor > LOSS


def costs(rows: Sequence[Row], label: str) -> list[Cost]:
    """What a request costs at this step, on every workload on which that is known."""
    found = []
    for workload in WORKLOADS:
        if earlier := costs_below(rows, label, workload):
            best = min(earlier, key=earlier.__getitem__)
            found.append(Cost(workload, best, 1 / earlier[best]))
    return found


def costs_below(rows: Sequence[Row], label: str, workload: str) -> dict[str, float]:
    """What a request cost at the steps below, with this step's cost as 1.

    The ratios of neighbours are multiplied, since each was measured in its own minute. So this goes
    down as far as every step was compared with its neighbour, and no comparison was rejected.
    """
    steps = {row.b: row for row in ladder.of_neighbours(rows, workload)}
    earlier: dict[str, float] = {}
    cost = 1.0
    while (row := steps.get(label)) and row.ratio and not row.rejected:
        cost *= row.ratio.cost.median
        earlier[row.a] = cost
        label = row.a
    return earlier
