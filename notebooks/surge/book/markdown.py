"""Tables in Markdown, for the chapters and the notebooks."""

from collections.abc import Iterable, Sequence

from surge.results.cost import cost, shop_tiers
from surge.results.rows import Comparison, Sides
from surge.results.wording import number, ratio, times, waits_title


def table(titles: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A table; None is an empty cell."""
    return "\n".join(
        f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |"
        for line in [titles, ["---"] * len(titles), *lines]
    )


def comparison_table(row: Comparison) -> str:
    """A comparison, with a column for each side."""
    of, tiers = row.ratio, row.tiers
    costs = Sides(a=cost(tiers.a), b=cost(tiers.b))
    waits: list[Sequence[object]] = []
    if row.p50_ms and row.p50_ratio:
        waits = [[waits_title(row), *both(row.p50_ms), ratio(row.p50_ratio)]]
    lines: list[Sequence[object]] = [
        ["requests a second", *both(row.throughput), of and ratio(of.throughput, row.at_least)],
        *waits,
        ["p99 ms, fully loaded", *both(row.p99_ms), None],
        ["CPU ms a request", *both(costs), of and ratio(of.cost)],
    ]
    for tier in shop_tiers(tiers.a | tiers.b):
        spent = [number(side[tier]) if tier in side else None for side in (tiers.a, tiers.b)]
        lines.append([f"of it {tier}", *spent, None])
    return table(["", row.a, row.b, "ratio (95 % interval)"], lines)


def variants_table(found: Iterable[Comparison]) -> str:
    """Several variants against the same step: a line for each, two columns for each workload."""
    lines: dict[str, list[str]] = {}
    titles = [""]
    for row in found:
        line = lines.setdefault(row.b, [row.b])
        if len(lines) == 1:
            titles += [f"{row.workload}: requests a second", "CPU ms a request"]
        line.append(gain(row))
        line.append(number(cost(row.tiers.b)))
    return table(titles, lines.values())


def gains_table(found: Iterable[Comparison]) -> str:
    """The same two steps on several workloads: a line for each."""
    lines = []
    for row in found:
        lines.append(
            [
                f"`{row.workload}`",
                *both(row.throughput),
                gain(row),
                *both(Sides(a=cost(row.tiers.a), b=cost(row.tiers.b))),
                *both(row.p99_ms),
            ]
        )
    titles = [f"{what}, {step}" for what in ("a second", "CPU ms", "p99 ms") for step in "AB"]
    return table(["", *titles[:2], "B against A", *titles[2:]], lines)


def gain(row: Comparison) -> str:
    """The ratio of the requests a second, marked where it was rejected."""
    if row.ratio is None:
        return "rejected"
    shown = ratio(row.ratio.throughput, row.at_least)
    return f"{shown}, rejected" if row.rejected else shown


def short(row: Comparison) -> str:
    """The ratio without its interval: bold where B is slower, in brackets where nobody can tell."""
    if row.ratio is None or row.rejected:
        return "rejected"
    shown = times(row.ratio.throughput.median)
    return {"faster": shown, "slower": f"**{shown}**"}.get(row.verdict, f"({shown})")


def both(values: Sides[float]) -> tuple[str, str]:
    """A quantity of both sides."""
    return number(values.a), number(values.b)
