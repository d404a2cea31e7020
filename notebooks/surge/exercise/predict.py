"""Predictions: the reader's answer first, then the truth from the reader's own machine."""

from stack.checkpoint import Checkpoint, Prediction, previous
from surge.measure.cost import cost
from surge.results.rows import ClaimRow, Comparison, Row


def truth(checkpoint: Checkpoint, prediction: Prediction, rows: list[Row]) -> float | None:
    """What the newest row says about a prediction, or None when nothing was measured yet.

    `truth` in `checkpoint.toml` names a counter of one of the step's claims (`sql.statements`, or
    `fields.http.bytes` where claims on several workloads have it), or a workload and what was
    measured of it against the step below: `offers.p99` (ms), `offers.throughput` (requests/s),
    `offers.cost` (CPU ms a request), `offers.ratio`.
    """
    below = previous(checkpoint)
    neighbours = (below.label if below else None, checkpoint.label)
    for row in reversed(rows):
        match row:
            case ClaimRow() if row.checkpoint == checkpoint.label and prediction.truth in (
                row.counter,
                f"{row.workload}.{row.counter}",
            ):
                return row.value
            case Comparison() if (row.a, row.b) == neighbours and not row.rejected:
                value = measured(row, prediction.truth)
                if value is not None:
                    return value
    return None


def measured(row: Comparison, name: str) -> float | None:
    """One number of a comparison by its name, or None when it has no such number."""
    workload, _, metric = name.rpartition(".")
    if workload != row.workload:
        return None
    match metric:
        case "p99":
            return row.p99_ms.b
        case "throughput":
            return row.throughput.b
        case "cost":
            return cost(row.tiers.b)
        case "ratio" if row.ratio:
            return row.ratio.throughput.median
    return None


def score(answer: float, true: float) -> str:
    """How far off an answer is, in words."""
    if answer <= 0 or true <= 0:
        return "spot on" if answer == true else "off"
    factor = max(answer / true, true / answer)
    if factor <= 1.1:
        return "spot on"
    if factor <= 2:
        return f"close: within a factor of {factor:.1f}"
    return f"off by a factor of {factor:.0f}. Surprises are what you came for"
