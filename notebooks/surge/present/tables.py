"""Tables for the terminal, made from rows."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

from rich import box
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from surge.crowd.runner import PATIENCE, Outcome, RequestStats
from surge.crowd.timeline import Timeline, Window
from surge.measure import ladder as ladders
from surge.measure.ladder import Step
from surge.results.cost import EXTERNAL_TIERS, cost
from surge.results.rows import Comparison, Row, Tiers
from surge.results.wording import (
    full_machine,
    marked,
    number,
    ratio,
    sentence,
    unseen,
    verdict,
    waits_title,
)

WIDE = 120
"""A terminal with so many columns has room for the change beside the numbers."""
LINES = 15
"""A surge is cut into about so many lines."""

STYLES = {
    "faster": "green",
    "slower": "red",
    "cannot tell": "yellow",
    "rejected": "magenta",
}


@dataclass(frozen=True)
class Ladder:
    """One row a checkpoint: the change, what was proved, and the step against the one before."""

    rows: Sequence[Row]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        """Show the change in a column where there is room, else the title below the label."""
        wide = options.max_width >= WIDE
        table = _table("step", "the change") if wide else _table("step")
        table.add_column("proved", no_wrap=True)
        table.add_column("against the step before", no_wrap=True)
        table.add_column("CPU ms", justify="right", no_wrap=True)
        steps = ladders.steps(self.rows)
        width = max((len(row.workload) for step in steps for row in step.comparisons), default=0)
        for step, above in zip(steps, [*steps[1:], None], strict=True):
            label = Text(step.label, "bold")
            named = [label, step.change] if wide else [_lines(label, Text(step.title, "dim"))]
            start = above.comparisons if above and step is steps[0] else []
            measured = _measured(step.comparisons, start, width)
            table.add_row(*named, _proved(step), *measured)
        yield table
        for row in ladders.comparisons(ladders.newest(self.rows)):
            if row.rejected:
                yield Text(sentence(row), STYLES["rejected"])
        yield Text(
            "Proved: promises of the contract kept, claims that hold. Then requests a second "
            "against the step before, with the 95 % interval; above 1x is better. CPU ms: what "
            "one request costs all tiers of the shop together.",
            "dim",
        )


def ladder(rows: Sequence[Row]) -> RenderableType:
    """The whole climb."""
    return Ladder(rows)


def comparison(row: Comparison) -> RenderableType:
    """One comparison: the verdict, then the numbers of both sides."""
    heading = Text.assemble((f"{marked(row)}  ", STYLES[verdict(row)]), (sentence(row), "bold"))
    table = _table("")
    for name in (row.a, row.b, "ratio (95 % interval)"):
        table.add_column(name, justify="right", no_wrap=True)
    of = row.ratio
    rps, tails, costs = row.throughput, row.p99_ms, (cost(row.tiers.a), cost(row.tiers.b))
    ratios = [ratio(of.throughput, row.at_least), ratio(of.cost)] if of else "--"
    table.add_row("requests a second", number(rps.a), number(rps.b), ratios[0])
    if row.p50_ms and row.p50_ratio:
        waits = map(number, (row.p50_ms.a, row.p50_ms.b))
        table.add_row(waits_title(row), *waits, ratio(row.p50_ratio))
    table.add_row("p99 ms, fully loaded", number(tails.a), number(tails.b), "")
    table.add_row("CPU ms a request", *map(number, costs), ratios[1], end_section=True)
    for tier in row.tiers.a | row.tiers.b:
        name = f"the {tier}, not counted" if tier in EXTERNAL_TIERS else f"  {tier}"
        spent = [number(side[tier]) if tier in side else "-" for side in (row.tiers.a, row.tiers.b)]
        table.add_row(Text(name, "dim"), *(Text(value, "dim") for value in spent), "")
    pairs = len({(sample.start, sample.pair) for sample in row.samples})
    starts = len({sample.start for sample in row.samples})
    note = (
        f"{row.connections} connections, {pairs} pairs in {starts} fresh starts ({row.effort}). "
        f"Above 1x, {row.b} is better."
    )
    notes = filter(None, (note, unseen(row), full_machine(row)))
    return Group(heading, table, *(Text(each, "dim") for each in notes))


def crowd(outcome: Outcome) -> RenderableType:
    """The results of a crowd of shoppers, request by request."""
    table = _table("request")
    for name in ("requests", "failed", "a second", "p50 ms", "p95 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    for request in outcome.requests:
        table.add_row(*_request(request), end_section=request is outcome.requests[-1])
    table.add_row(*_request(outcome.total))
    notes = [
        Text(f"{outcome.journey}: {outcome.users} shoppers, {outcome.seconds} s. ", "bold"),
        Text("Locust keeps two digits of a time.", "dim"),
    ]
    if outcome.rejected:
        notes.append(Text(f"✕ rejected: {outcome.rejected}", STYLES["rejected"]))
    return Group(table, *notes)


def surge(timeline: Timeline) -> RenderableType:
    """A surge, phase by phase and every few seconds."""
    table = _table("seconds")
    for name in ("requests", "failed", "answers\na second", "p50 ms", "p99 ms"):
        table.add_column(name, justify="right", no_wrap=True)
    step = ceil(timeline.seconds / LINES)
    for phase, whole in timeline.by_phase():
        table.add_row(phase.title, *_window(whole), style="bold")
        for piece in timeline.windows(phase.begins, phase.ends, step):
            last = piece.ends == phase.ends
            table.add_row(f"  {piece.begins}-{piece.ends}", *_window(piece), end_section=last)
    note = (
        "A request, its failure and its wait stand where it was asked, an answer where it came. "
        f"A shopper gives up after {PATIENCE} s."
    )
    return Group(table, Text(note, "dim"))


def _table(*columns: str) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, header_style="bold")
    for name in columns:
        table.add_column(name, min_width=len(name.split(" ")[0]))
    return table


def _proved(step: Step) -> Text:
    lines = []
    if step.contract:
        failed = step.contract.failed
        kept = Text(f"{step.contract.passed} kept", "green")
        lines.append(Text(f"{failed} broken", "red") if failed else kept)
    if step.claims:
        style = "green" if step.held == len(step.claims) else "red"
        lines.append(Text(f"{step.held}/{len(step.claims)} hold", style))
    return _lines(*lines)


def _measured(against: list[Comparison], start: list[Comparison], width: int) -> tuple[Text, Text]:
    """The comparisons, a line each, and what a request costs now, line by line.

    The lowest step is compared with nothing; its cost is the `start` of the step above it.
    """
    lines = [Text(f"{row.workload:<{width}} the start", "dim") for row in start]
    costs = [_cost(row, row.tiers.a) for row in start]
    for row in against:
        line = Text.assemble(f"{row.workload:<{width}} ", (marked(row), STYLES[verdict(row)]))
        if row.ratio and not row.rejected:
            line.append(f" {ratio(row.ratio.throughput, row.at_least)}")
        lines.append(line)
        costs.append(_cost(row, row.tiers.b))
    return _lines(*lines), _lines(*costs)


def _cost(row: Comparison, tiers: Tiers) -> Text:
    return Text("-" if row.rejected else number(cost(tiers)))


def _lines(*lines: Text) -> Text:
    return Text("\n").join(lines)


def _request(request: RequestStats) -> list[Text]:
    failed = Text(f"{request.failures:,}", "red" if request.failures else "")
    waits = [request.percentile(percent) for percent in (50, 95, 99)]
    return [
        Text(request.name),
        Text(f"{request.requests:,}"),
        failed,
        Text(number(request.per_second)),
        *(Text("-" if wait is None else f"{wait:,}") for wait in waits),
    ]


def _window(found: Window) -> list[Text]:
    waits = [found.p50, found.p99]
    return [
        Text(f"{found.requests:,}"),
        Text(f"{found.failed:,}", "red" if found.failed else ""),
        Text(number(found.answered)),
        *(Text("-" if wait is None else number(round(wait))) for wait in waits),
    ]
