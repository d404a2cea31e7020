"""How numbers and verdicts are written: the same in tables, figures and the report."""

from statistics import median

from surge.results.rows import Comparison, Interval
from surge.results.stats import smallest_seen

MARKS = {"faster": "▲", "slower": "▼", "cannot tell": "≈", "rejected": "✕"}
"""A shape for every verdict, for readers and printers without colour."""

FULL = 0.05
"""A machine is full when less of it is idle."""
NOTABLE = 0.1
"""A load generator that has less of the machine than this changes no ratio that matters."""


def number(value: float) -> str:
    """A whole number in full, any other with three digits: `0.0313`, `4.1`, `12,400`."""
    if value == int(value):
        return f"{value:,.0f}"
    if abs(value) >= 1000:
        return f"{float(f'{value:.3g}'):,.0f}"
    return f"{value:.3g}"


def counted(value: float) -> str:
    """A claim's counter: `41`, `1.002`, `500,000`; a fraction has four digits."""
    return f"{value:,.0f}" if value == int(value) or value >= 1000 else f"{value:.4g}"


def times(value: float) -> str:
    """A ratio: `1.98x`, `12.4x`, `344x`."""
    return f"{value:.2f}x" if value < 10 else f"{value:.1f}x" if value < 100 else f"{value:,.0f}x"


def ratio(interval: Interval, at_least: bool = False) -> str:
    """A ratio with its 95 % interval: `1.98x (1.87-2.06)`."""
    sign = "≥ " if at_least else ""
    low, high = times(interval.low)[:-1], times(interval.high)[:-1]
    return f"{sign}{times(interval.median)} ({low}-{high})"


def waits_title(row: Comparison) -> str:
    """What the median waits of a row are: `p50 ms at 55 a second`."""
    rate = median(sample.rate for sample in row.open_samples)
    return f"p50 ms at {number(rate)} a second"


def unseen(row: Comparison) -> str:
    """What a comparison that cannot tell could not have seen; empty for any other."""
    if row.rejected or row.ratio is None or row.verdict != "cannot tell":
        return ""
    slower, faster = smallest_seen(row.ratio.throughput)
    return (
        f"A run like this misses a true {times(faster)}, or {times(slower)}, as often as it sees "
        "it, and smaller differences more often."
    )


def full_machine(row: Comparison) -> str:
    """What it means for the ratio that no processor was idle; empty if some were."""
    for label, side in ((row.a, "a"), (row.b, "b")):
        accounts = [each.account for each in row.samples if each.account and each.side == side]
        if not accounts:
            continue
        idle = median(account.idle for account in accounts)
        share = median(account.client for account in accounts)
        if idle < FULL and share > NOTABLE:
            return (
                f"No processor was idle beside {label}: the load generator had {share:.0%} of the "
                "machine, so a real difference is larger than the ratio."
            )
    return ""


def verdict(row: Comparison) -> str:
    """`faster`, `slower`, `cannot tell` or `rejected`."""
    return "rejected" if row.rejected else row.verdict


def marked(row: Comparison) -> str:
    """The verdict with its shape: `▲ faster`."""
    return f"{MARKS[verdict(row)]} {verdict(row)}"


def sentence(row: Comparison) -> str:
    """The comparison in a sentence."""
    if row.rejected or row.ratio is None:
        return f"{row.b} against {row.a} on {row.workload}: rejected, {row.rejected}"
    verdicts = {
        "faster": f"{row.b} is faster than {row.a} on {row.workload}",
        "slower": f"{row.b} is slower than {row.a} on {row.workload}",
        "cannot tell": f"{row.workload} does not tell {row.b} from {row.a}",
    }
    throughput = ratio(row.ratio.throughput, row.at_least)
    return f"{verdicts[row.verdict]}: {throughput} the requests a second"
