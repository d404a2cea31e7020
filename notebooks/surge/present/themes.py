"""The look of figures, in light and in dark, and their export as files."""

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import inf
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.layout_engine import ConstrainedLayoutEngine
from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

from surge.results.wording import number


@dataclass(frozen=True)
class Theme:
    """Colours: the contrast with the background is at least 4.5 to 1 for text, 3 to 1 for marks."""

    paper: str
    ink: str
    muted: str
    faint: str
    """For lines without a meaning."""
    old: str
    new: str
    tiers: Mapping[str, str]


# After Okabe and Ito: they differ with every kind of colour blindness, and in lightness.
LIGHT = Theme(
    paper="#ffffff",
    ink="#1a2027",
    muted="#57606a",
    faint="#e1e6eb",
    old="#a84300",
    new="#0063a8",
    tiers={
        "app": "#2f87c9",
        "worker": "#c77b0a",
        "database": "#0f3d66",
        "cache": "#0a8f68",
        "proxy": "#b0568b",
    },
)
DARK = Theme(
    paper="#12161c",
    ink="#e8ecf1",
    muted="#a3adb8",
    faint="#2c343f",
    old="#f0a35e",
    new="#5bb4f0",
    tiers={
        "app": "#9ed4f7",
        "worker": "#f0c05e",
        "database": "#3f7fb8",
        "cache": "#43c99e",
        "proxy": "#de8fbf",
    },
)

FONT = "DejaVu Sans"
"""Comes with matplotlib, so a figure is the same on every machine. Wide, so other fonts fit."""

STYLE: Any = {
    "font.family": FONT,
    "font.size": 10,
    "svg.fonttype": "none",
    "svg.hashsalt": "surge",  # the same figure is the same file
    "axes.axisbelow": True,
    "xtick.major.size": 0,
    "ytick.major.size": 0,
}

TICKS: dict[float, list[float]] = {
    most: [digit * 10.0**power for power in range(-4, 8) for digit in digits]
    for most, digits in {
        3: (1, 1.1, 1.25, 1.5, 2, 3, 4, 5, 6, 7, 8, 9),
        30: (1, 2, 5),
        500: (1, 3),
        20_000: (1,),
    }.items()
}
TICKS[inf] = [10.0**power for power in range(-4, 9, 2)]
"""Round numbers for a scale whose ends differ by less than such a factor."""


def new_figure(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure, so many inches wide and high."""
    air = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    return Figure((width, height), layout=air, facecolor=theme.paper)


def style_axes(ax: Axes, theme: Theme) -> None:
    """Remove the frame; leave the grid lines that help to read a value."""
    ax.set_facecolor(theme.paper)
    ax.spines[:].set_visible(False)
    ax.grid(axis="x", color=theme.faint, linewidth=1)
    ax.tick_params(colors=theme.muted, labelsize=9)


def set_titles(ax: Axes, title: str, below: str, theme: Theme) -> None:
    """Put what is shown above the axes, and how to read it below."""
    ax.set_title(title, loc="left", pad=9, color=theme.ink, fontsize=10.5, fontweight="bold")
    ax.set_xlabel(below, color=theme.muted, fontsize=9)


def label_rows(ax: Axes, labels: Sequence[str], theme: Theme) -> None:
    """Give each label a row, from the top down."""
    ax.set_yticks(range(len(labels)), labels)
    ax.tick_params(axis="y", colors=theme.ink, labelsize=10)
    ax.set_ylim(len(labels) - 0.5, -0.6)


def label_value(ax: Axes, at: tuple[float, float], value: str, theme: Theme) -> None:
    """Write a value beside its mark."""
    text = ax.annotate(value, at, (9, 0), textcoords="offset points", va="center", color=theme.ink)
    text.set_bbox({"facecolor": theme.paper, "edgecolor": "none", "pad": 1})


def round_ticks(axis: Axis, ends: tuple[float, float], unit: str = "") -> None:
    """A few ticks at round numbers, on a logarithmic scale."""
    low, high = ends
    ticks = next(ticks for most, ticks in TICKS.items() if high / low < most)
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value) + unit))


def svg(figure: Figure) -> str:
    """The figure as an SVG document; its text is in the reader's own font."""
    return (
        _saved(figure, "svg", {"Date": None}).decode().replace(f"'{FONT}'", "system-ui, sans-serif")
    )


def png(figure: Figure) -> bytes:
    """The figure as a PNG."""
    return _saved(figure, "png", {"Software": None})


def _saved(figure: Figure, kind: str, metadata: dict[str, None]) -> bytes:
    file = io.BytesIO()
    with mpl.rc_context(STYLE):
        figure.savefig(file, format=kind, dpi=144, metadata=metadata)
    return file.getvalue()
