"""Predictions: the reader answers first, and then compares with the results of this machine."""

from stack.checkpoint import Checkpoint, Prediction, previous
from surge.results.cost import cost
from surge.results.rows import ClaimRow, Comparison, Row


def truth(checkpoint: Checkpoint, prediction: Prediction, rows: list[Row]) -> float | None:
    """The true answer from the newest row that has it, or None when nothing was measured yet.

    `truth` in `checkpoint.toml` names a counter of one of the step's claims (`sql.statements`, or
    `fields.http.bytes` where claims on several workloads have it), or a workload and a metric of
    its comparison with the step below: `offers.p99` (ms), `offers.throughput` (requests/s),
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
                value = metric_of(row, prediction.truth)
                if value is not None:
                    return value
    return None


def metric_of(row: Comparison, name: str) -> float | None:
    """A metric of a comparison, such as `offers.p99`; None when it has none of that name."""
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
