"""How figures look, in light and in dark, and how they become files."""

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
    """Colours: text stands apart from its background by 4.5 to 1, everything else by 3 to 1."""

    paper: str
    ink: str
    muted: str
    faint: str
    """For lines that carry no meaning."""
    old: str
    new: str
    tiers: Mapping[str, str]


# After Okabe and Ito: told apart with every kind of colour blindness, and in grey by lightness.
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
"""Comes with matplotlib: a figure is the same on every machine. Wide, so other fonts fit too."""

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
"""Round numbers for a scale whose ends differ by less than so many times."""


def sheet(width: float, height: float, theme: Theme) -> Figure:
    """An empty figure of so many inches."""
    air = ConstrainedLayoutEngine(w_pad=0.1, h_pad=0.08)
    return Figure((width, height), layout=air, facecolor=theme.paper)


def plain(ax: Axes, theme: Theme) -> None:
    """Take away the frame; leave the lines that help to read a value."""
    ax.set_facecolor(theme.paper)
    ax.spines[:].set_visible(False)
    ax.grid(axis="x", color=theme.faint, linewidth=1)
    ax.tick_params(colors=theme.muted, labelsize=9)


def name(ax: Axes, title: str, below: str, theme: Theme) -> None:
    """Say above what is shown, and below how to read it."""
    ax.set_title(title, loc="left", pad=9, color=theme.ink, fontsize=10.5, fontweight="bold")
    ax.set_xlabel(below, color=theme.muted, fontsize=9)


def lines(ax: Axes, labels: Sequence[str], theme: Theme) -> None:
    """Give each label a line, from the top down."""
    ax.set_yticks(range(len(labels)), labels)
    ax.tick_params(axis="y", colors=theme.ink, labelsize=10)
    ax.set_ylim(len(labels) - 0.5, -0.6)


def label(ax: Axes, at: tuple[float, float], said: str, theme: Theme) -> None:
    """Write a value beside its mark."""
    text = ax.annotate(said, at, (9, 0), textcoords="offset points", va="center", color=theme.ink)
    text.set_bbox({"facecolor": theme.paper, "edgecolor": "none", "pad": 1})


def round_ticks(axis: Axis, ends: tuple[float, float], unit: str = "") -> None:
    """Few ticks, at round numbers, on a scale where equal steps are equal ratios."""
    low, high = ends
    ticks = next(ticks for most, ticks in TICKS.items() if high / low < most)
    axis.set_major_locator(FixedLocator([tick for tick in ticks if low <= tick <= high]))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: number(value) + unit))


def svg(figure: Figure) -> str:
    """The figure as an SVG document, its words in the reader's own font."""
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
