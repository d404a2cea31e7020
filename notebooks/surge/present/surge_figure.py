"""A surge as a figure: answers, waits and failures over time, a column for each step."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from surge.crowd.timeline import Timeline, Window
from surge.present.figures import TALL, Shape, Table
from surge.present.themes import LIGHT, STYLE, Theme, name, plain, round_ticks, sheet
from surge.results.wording import number

Surges = Mapping[str, Timeline]
"""Which steps met the same surge, and what happened there."""

PANEL = 1.9
"""Inches high for a quantity."""
COLUMN = 5.0
"""Inches across for a step, where there is room."""
PIECES = 60
"""At most so many pieces of time."""


def surge(surges: Surges, theme: Theme = LIGHT, shape: Shape = "wide") -> Figure:
    """A panel for every quantity and step, a quantity at one scale; the surge is shaded."""
    steps = len(surges)
    columns = steps if shape == "wide" else 1
    rows = len(PANELS) * steps // columns
    with mpl.rc_context(STYLE):
        across = columns * COLUMN if shape == "wide" else TALL
        figure = sheet(across, rows * PANEL + 0.4, theme)
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for place, (quantity, (below, draw)) in enumerate(PANELS.items()):
            beside = axes[place * steps : (place + 1) * steps]
            for ax, (who, timeline) in zip(beside, surges.items(), strict=True):
                if ax is not beside[0]:
                    ax.sharey(beside[0])
                _time(ax, timeline, theme)
                step = ceil(timeline.seconds / PIECES)
                draw(ax, timeline.windows(0, timeline.seconds, step), theme)
                last = ax in axes[-columns:]
                name(ax, f"{who}: {quantity}", _shaded(timeline) if last else below, theme)
    return figure


def alt_surge(surges: Surges) -> str:
    """The surge figure in words."""
    return " ".join(f"{who}: {_told(timeline)}." for who, timeline in surges.items())


def data_surge(surges: Surges) -> Table:
    """The numbers of the surge figure, phase by phase."""
    header = ["", "phase", "shoppers", "requests", "failed", "answers a second", "p50 ms"]
    body = [
        [
            *(who, phase.name, number(phase.shoppers), number(met.requests), number(met.failed)),
            *(number(met.answered), _said(met.p50), _said(met.p99)),
        ]
        for who, timeline in surges.items()
        for phase, met in timeline.by_phase()
    ]
    return [[*header, "p99 ms"], *body]


def _said(wait: float | None) -> str:
    return "-" if wait is None else number(round(wait))


def _told(timeline: Timeline) -> str:
    return "; ".join(
        f"{phase.title}: {number(met.answered)} answers a second, "
        f"99 % of the waits within {_said(met.p99)} ms, {met.failed:,} of {met.requests:,} "
        "requests failed"
        for phase, met in timeline.by_phase()
    )


def _time(ax: Axes, timeline: Timeline, theme: Theme) -> None:
    """Seconds from left to right, those of the surge shaded."""
    plain(ax, theme)
    ax.grid(axis="y", color=theme.faint, linewidth=1)
    _, high, _ = timeline.phases
    ax.axvspan(high.begins, high.ends, color=theme.faint, alpha=0.6, linewidth=0)
    ax.set_xlim(0, timeline.seconds)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=True))


def _shaded(timeline: Timeline) -> str:
    calm, high, _ = timeline.phases
    return f"seconds; shaded: {high.shoppers:,} shoppers instead of {calm.shoppers:,}"


def _answered(ax: Axes, pieces: Sequence[Window], theme: Theme) -> None:
    _blocks(ax, pieces, [piece.answered for piece in pieces], theme.new)


def _waits(ax: Axes, pieces: Sequence[Window], theme: Theme) -> None:
    """A dot at the median, a bar up to the 99th percentile; nothing where nobody asked."""
    asked = [
        ((piece.begins + piece.ends) / 2, piece.p50, piece.p99)
        for piece in pieces
        if piece.p50 and piece.p99
    ]
    middles, medians, slowest = zip(*asked, strict=True) if asked else ((), (), ())
    ax.set_yscale("log")
    ax.vlines(middles, medians, slowest, color=theme.new, linewidth=2.5)
    ax.plot(middles, medians, "o", color=theme.new, markersize=4)
    round_ticks(ax.yaxis, ax.get_ylim())


def _failed(ax: Axes, pieces: Sequence[Window], theme: Theme) -> None:
    failed = [piece.failed / (piece.ends - piece.begins) for piece in pieces]
    _blocks(ax, pieces, failed, theme.old)
    if not any(failed):
        middle = ax.transAxes
        ax.text(0.5, 0.5, "none", transform=middle, color=theme.muted, ha="center", va="center")


def _blocks(ax: Axes, pieces: Sequence[Window], values: list[float], colour: str) -> None:
    edges = [pieces[0].begins, *(piece.ends for piece in pieces)]
    ax.stairs(values, edges, fill=True, color=colour)
    ax.set_ylim(0, max(1, 1.05 * max(values), ax.get_ylim()[1]))  # not lower than its neighbours
    ax.yaxis.set_major_locator(MaxNLocator(4, integer=True))


PANELS: dict[str, tuple[str, Callable[[Axes, Sequence[Window], Theme], None]]] = {
    "good answers a second": ("", _answered),
    "wait in ms": ("dot: p50, bar: to p99; no dot: nobody asked", _waits),
    "failed requests a second": ("", _failed),
}
"""What is drawn, from the top down, and what is said below it."""
