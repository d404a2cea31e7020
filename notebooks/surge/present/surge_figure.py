"""A surge as a figure: answers, waits and failures over time, a column for each step."""

from collections.abc import Callable, Mapping, Sequence
from math import ceil

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from surge.crowd.timeline import Timeline, Window
from surge.present.figures import PHONE_WIDTH, Shape, Table
from surge.present.themes import (
    LIGHT,
    STYLE,
    Theme,
    new_figure,
    round_ticks,
    set_titles,
    style_axes,
)
from surge.results.wording import number

Surges = Mapping[str, Timeline]
"""What happened in the same surge, by the label of the step that met it."""

PANEL_HEIGHT = 1.9
"""Inches for a quantity."""
COLUMN_WIDTH = 5.0
"""Inches for a step, in the wide shape."""
MAX_PIECES = 60
"""The surge is cut into at most so many pieces of time."""


def surge(surges: Surges, theme: Theme = LIGHT, shape: Shape = "wide") -> Figure:
    """A panel for every quantity and step, with one scale for a quantity; the surge is shaded."""
    steps = len(surges)
    columns = steps if shape == "wide" else 1
    rows = len(PANELS) * steps // columns
    with mpl.rc_context(STYLE):
        across = columns * COLUMN_WIDTH if shape == "wide" else PHONE_WIDTH
        figure = new_figure(across, rows * PANEL_HEIGHT + 0.4, theme)
        axes = list(figure.subplots(rows, columns, squeeze=False).flat)
        for place, (quantity, (below, draw)) in enumerate(PANELS.items()):
            beside = axes[place * steps : (place + 1) * steps]
            for ax, (label, timeline) in zip(beside, surges.items(), strict=True):
                if ax is not beside[0]:
                    ax.sharey(beside[0])
                _time(ax, timeline, theme)
                step = ceil(timeline.seconds / MAX_PIECES)
                draw(ax, timeline.windows(0, timeline.seconds, step), theme)
                last = ax in axes[-columns:]
                set_titles(ax, f"{label}: {quantity}", _shaded(timeline) if last else below, theme)
    return figure


def alt_surge(surges: Surges) -> str:
    """The surge figure in words."""
    return " ".join(f"{label}: {_in_words(timeline)}." for label, timeline in surges.items())


def data_surge(surges: Surges) -> Table:
    """The numbers of the surge figure, phase by phase."""
    header = ["", "phase", "shoppers", "requests", "failed", "answers a second", "p50 ms"]
    body = [
        [
            *(label, phase.name, number(phase.shoppers), number(met.requests), number(met.failed)),
            *(number(met.answered), _milliseconds(met.p50), _milliseconds(met.p99)),
        ]
        for label, timeline in surges.items()
        for phase, met in timeline.by_phase()
    ]
    return [[*header, "p99 ms"], *body]


def _milliseconds(wait: float | None) -> str:
    return "-" if wait is None else number(round(wait))


def _in_words(timeline: Timeline) -> str:
    return "; ".join(
        f"{phase.title}: {number(met.answered)} answers a second, "
        f"99 % of the waits within {_milliseconds(met.p99)} ms, {met.failed:,} of {met.requests:,} "
        "requests failed"
        for phase, met in timeline.by_phase()
    )


def _time(ax: Axes, timeline: Timeline, theme: Theme) -> None:
    """Seconds from left to right, those of the surge shaded."""
    style_axes(ax, theme)
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
    """A dot at the median, a bar up to the 99th percentile; nothing where no request was sent."""
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
    "wait in ms": ("dot: p50, bar: to p99; no dot: no request", _waits),
    "failed requests a second": ("", _failed),
}
"""The panels from the top down: the title, the note below, and the function that draws it."""
