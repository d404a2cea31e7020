"""Figures drawn from rows, each with its alt text and the table of its data.

`wide` puts panels side by side, `tall` stacks them for a phone. Colour alone says nothing.
"""

from collections.abc import Callable, Mapping, Sequence
from textwrap import fill
from typing import Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator

from surge.measure import ladder as ladders
from surge.measure.ladder import Point
from surge.measure.pairs import each_pair, wait_ratios
from surge.present.themes import (
    LIGHT,
    STYLE,
    Theme,
    label_rows,
    label_value,
    new_figure,
    round_ticks,
    set_titles,
    style_axes,
)
from surge.results.cost import cost
from surge.results.percentiles import (
    LatencyHistogram,
    histogram_percentile,
    nines,
    percentile_curve,
)
from surge.results.rows import Comparison, Interval, Row
from surge.results.stats import INDIFFERENCE
from surge.results.wording import number, ratio, sentence, times, verdict

Shape = Literal["wide", "tall"]
Table = list[list[str]]
"""A header, then lines."""
Answers = Mapping[str, LatencyHistogram]
"""How long the answers took, by the label of the step that gave them."""

PHONE_WIDTH = 4.0
ROW_HEIGHT = 0.42
LEGEND_HEIGHT = 0.3
"""In inches, as the sizes of all figures are."""
PERCENTILES = [50.0, 90.0, 99.0, 99.9]


def ladder(
    rows: Sequence[Row], workload: str, theme: Theme = LIGHT, shape: Shape = "wide"
) -> Figure:
    """Every checkpoint on one workload: capacity, p99, and the CPU cost of a request by tier."""
    points = ladders.points(rows, workload)
    panels: list[Callable[[Axes, list[Point], Theme], None]] = [_capacity, _waits, _costs]
    height = ROW_HEIGHT * len(points) + 1
    with mpl.rc_context(STYLE):
        if shape == "wide":
            figure = new_figure(10.4, height + LEGEND_HEIGHT, theme)
            axes = figure.subplots(1, 3, sharey=True)
        else:
            figure = new_figure(PHONE_WIDTH, 3 * height + 2 * LEGEND_HEIGHT, theme)
            axes = figure.subplots(3, 1)
        for ax, draw in zip(axes, panels, strict=True):
            style_axes(ax, theme)
            label_rows(ax, [point.label for point in points], theme)
            draw(ax, points, theme)
        figure.legend(
            loc="outside lower right",  # below the last panel, where it covers nothing
            ncols=len(_tiers(points)) if shape == "wide" else 3,
            labelcolor=theme.ink,
            handlelength=1,
            fontsize=9,
            frameon=False,
        )
    return figure


def alt_ladder(rows: Sequence[Row], workload: str) -> str:
    """The ladder figure in words."""
    points = ladders.points(rows, workload)
    first, last = points[0], points[-1]
    return (
        f"{len(points)} checkpoints on the workload {workload}, from {first.label} to "
        f"{last.label}. Requests a second go from {number(first.throughput)} to "
        f"{number(last.throughput)}, CPU milliseconds a request from {number(cost(first.tiers))} "
        f"to {number(cost(last.tiers))}, p99 fully loaded from {number(first.p99_ms)} to "
        f"{number(last.p99_ms)} ms."
    )


def data_ladder(rows: Sequence[Row], workload: str) -> Table:
    """The numbers of the ladder figure."""
    points = ladders.points(rows, workload)
    tiers = _tiers(points)
    header = ["step", "requests a second", "against the step before", "CPU ms a request"]
    body = [
        [
            point.label,
            number(point.throughput),
            ratio(point.step.ratio.throughput, point.step.at_least)
            if point.step and point.step.ratio
            else "",
            number(cost(point.tiers)),
            *(number(point.tiers[tier]) if tier in point.tiers else "" for tier in tiers),
            number(point.p99_ms),
        ]
        for point in points
    ]
    return [[*header, *(f"of it {tier}" for tier in tiers), "p99 ms, fully loaded"], *body]


def comparison(row: Comparison, theme: Theme = LIGHT, shape: Shape = "wide") -> Figure:
    """Every pair's ratios, their medians and 95 % intervals; right of 1x, B is better."""
    measured = _ratios(row)
    title = f"{row.b} against {row.a} on {row.workload}: {verdict(row)}"
    with mpl.rc_context(STYLE):
        figure = new_figure(7.2 if shape == "wide" else PHONE_WIDTH, 2.8, theme)
        ax = figure.subplots()
        style_axes(ax, theme)
        _ratio_axis(ax, [value for _, pairs, _ in measured for value in pairs])
        ax.axvspan(1 / INDIFFERENCE, INDIFFERENCE, color=theme.faint, linewidth=0)
        ax.axvline(1, color=theme.muted, linewidth=1)
        for place, (what, pairs, interval) in enumerate(measured):
            _strip(ax, place, pairs, interval, theme)
            said = ratio(interval, row.at_least and what == "throughput")
            beside = ax.get_yaxis_transform()
            ax.text(1.03, place, said, transform=beside, color=theme.ink, va="center")
        label_rows(ax, [what for what, _, _ in measured], theme)
        set_titles(ax, "", f"right of 1x, {row.b} is better", theme)
        figure.suptitle(
            fill(title, 66 if shape == "wide" else 36),
            x=0.02,
            ha="left",
            color=theme.ink,
            fontsize=10.5,
            fontweight="bold",
        )
    return figure


def alt_comparison(row: Comparison) -> str:
    """The comparison figure in words."""
    if row.ratio is None:
        return sentence(row) + "."
    waits = f"Median wait at a moderate rate: {ratio(row.p50_ratio)}. " if row.p50_ratio else ""
    return (
        f"{sentence(row)}. CPU cost: {ratio(row.ratio.cost)}. {waits}Above 1x, {row.b} is better."
    )


def data_comparison(row: Comparison) -> Table:
    """The numbers of the comparison figure."""
    body = [
        [what, times(interval.median), times(interval.low), times(interval.high), str(len(pairs))]
        for what, pairs, interval in _ratios(row)
    ]
    return [["", "median", "low", "high", "pairs"], *body]


def latency(answers: Answers, theme: Theme = LIGHT, shape: Shape = "wide") -> Figure:
    """The latency by percentile, one line for each of `answers`."""
    with mpl.rc_context(STYLE):
        figure = new_figure(7.2 if shape == "wide" else PHONE_WIDTH, 3.4, theme)
        ax = figure.subplots()
        style_axes(ax, theme)
        ax.grid(axis="y", color=theme.faint, linewidth=1)
        ax.set_yscale("log")
        colours = [theme.old, theme.new, *theme.tiers.values()]
        for (label, waits), colour, dash in zip(
            answers.items(), colours, ["--", "-", ":", "-."], strict=False
        ):
            x, y = percentile_curve(waits)
            ax.plot(x, y, dash, color=colour, linewidth=2.2)
            ax.annotate(f" {label}", (x[-1], y[-1]), color=colour, va="center", fontweight="bold")
        ax.set_xticks([nines(p) for p in PERCENTILES], [f"{p:g} %" for p in PERCENTILES])
        round_ticks(ax.yaxis, ax.get_ylim())
        set_titles(ax, "Milliseconds to an answer", "so many answers came within that time", theme)
    return figure


def alt_latency(answers: Answers) -> str:
    """The latency figure in words."""
    return " ".join(
        f"{label}: half of the answers within {_milliseconds(waits, 50)} ms, 99 % within "
        f"{_milliseconds(waits, 99)} ms."
        for label, waits in answers.items()
    )


def _milliseconds(waits: LatencyHistogram, percent: float) -> str:
    return number(histogram_percentile(waits, percent) or 0)


def _capacity(ax: Axes, points: list[Point], theme: Theme) -> None:
    values, notes = [point.throughput for point in points], [_step(point) for point in points]
    _dots(ax, values, notes, theme, theme.new)
    set_titles(ax, "Requests a second", "more is better →", theme)


def _costs(ax: Axes, points: list[Point], theme: Theme) -> None:
    left = [0.0] * len(points)
    for tier in _tiers(points):
        widths = [point.tiers.get(tier, 0.0) for point in points]
        colour, edge = theme.tiers[tier], theme.paper
        ax.barh(range(len(points)), widths, 0.62, left, color=colour, edgecolor=edge, label=tier)
        left = [x + width for x, width in zip(left, widths, strict=True)]
    for place, total in enumerate(left):
        label_value(ax, (total, place), number(total), theme)
    ax.set_xlim(0, max(left) * 1.25)
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda value, _: number(value)))
    set_titles(ax, "CPU ms a request, by tier", "← less is better", theme)


def _waits(ax: Axes, points: list[Point], theme: Theme) -> None:
    _dots(ax, [point.p99_ms for point in points], [""] * len(points), theme, theme.muted)
    set_titles(ax, "p99 ms, fully loaded", "how long the queue is", theme)


def _dots(ax: Axes, values: list[float], notes: list[str], theme: Theme, colour: str) -> None:
    """A dot for each row, on a logarithmic scale."""
    ax.set_xscale("log")
    ax.plot(values, range(len(values)), color=theme.muted, linewidth=1)
    ax.plot(values, range(len(values)), "o", color=colour, markersize=8)
    for place, (value, note) in enumerate(zip(values, notes, strict=True)):
        label_value(ax, (value, place), f"{number(value)}{note}", theme)
    low, high = min(values) / 1.4, max(values) * 1.4
    ax.set_xlim(low, high * (high / low) ** 0.6)  # room for the label of the rightmost dot
    round_ticks(ax.xaxis, ax.get_xlim())


def _step(point: Point) -> str:
    """The comparison with the point before, briefly."""
    if point.step is None or point.step.ratio is None:
        return ""
    sign = {"cannot tell": "≈ "}.get(point.step.verdict, "≥ " if point.step.at_least else "")
    return f"  ({sign}{times(point.step.ratio.throughput.median)})"


def _tiers(points: list[Point]) -> list[str]:
    """The tiers in the order in which they are always drawn."""
    found = {tier for point in points for tier in point.tiers}
    return sorted(found, key=list(LIGHT.tiers).index)


def _ratios(row: Comparison) -> list[tuple[str, list[float], Interval]]:
    """Each quantity compared: its name, the ratio of every pair, and their interval."""
    if row.ratio is None:
        return []
    pairs = each_pair(row.samples)
    found = [
        ("throughput", [pair.throughput for pair in pairs], row.ratio.throughput),
        ("CPU cost", [pair.cost for pair in pairs], row.ratio.cost),
    ]
    if row.p50_ratio:
        found.append(("median wait", wait_ratios(row.open_samples), row.p50_ratio))
    return found


def _ratio_axis(ax: Axes, values: list[float]) -> None:
    low, high = min([*values, 0.87]), max([*values, 1.15])
    air = (high / low) ** 0.07
    low, high = low / air, high * air
    ax.set_xscale("log")
    ax.set_xlim(low, high)
    round_ticks(ax.xaxis, (low, high), "x")


def _strip(ax: Axes, place: int, pairs: list[float], interval: Interval, theme: Theme) -> None:
    spread = [place + 0.14 * (turn % 3 - 1) for turn in range(len(pairs))]
    ax.plot(pairs, spread, "o", color=theme.new, markersize=4, alpha=0.5, markeredgewidth=0)
    ax.plot([interval.low, interval.high], [place, place], color=theme.new, linewidth=3)
    ax.plot(interval.median, place, "D", color=theme.new, markeredgecolor=theme.paper, markersize=8)
