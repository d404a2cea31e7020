"""The figures, from made-up rows."""

import re
from collections.abc import Callable
from html import unescape
from typing import NamedTuple, get_args

import made_up
import pytest
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from surge.present import figures
from surge.present.figures import Shape
from surge.present.themes import DARK, LIGHT, Theme, png, svg
from surge.results.percentiles import histogram_percentile
from surge.results.rows import Comparison

ROWS = made_up.climb()
ANSWERS = {"04 pool": {100: 50, 200: 45, 900: 5}, "05 async": {10: 900, 30: 99, 70: 1}}
MINE = "05 async (work/05)"  # the longest label there is
OFFERS, CONTROL = [row for row in ROWS if isinstance(row, Comparison)][-2:]
LONG = made_up.comparison("04 pool", MINE, "offers", *made_up.OFFERS)
SLOWER = made_up.comparison("04 pool", MINE, "offers", *reversed(made_up.OFFERS))
HOPELESS = OFFERS.model_copy(update={"ratio": None, "rejected": "40 of 40 failed"})

DRAWN: dict[str, Callable[[Theme, Shape], Figure]] = {
    "ladder": lambda theme, shape: figures.ladder(ROWS, "list", theme, shape),
    "ladder of two": lambda theme, shape: figures.ladder(ROWS, "offers", theme, shape),
    "comparison": lambda theme, shape: figures.comparison(OFFERS, theme, shape),
    "control": lambda theme, shape: figures.comparison(CONTROL, theme, shape),
    "comparison, mine": lambda theme, shape: figures.comparison(LONG, theme, shape),
    "slower": lambda theme, shape: figures.comparison(SLOWER, theme, shape),
    "hopeless": lambda theme, shape: figures.comparison(HOPELESS, theme, shape),
    "latency": lambda theme, shape: figures.latency(ANSWERS, theme, shape),
}


class Said(NamedTuple):
    """A piece of text in a figure."""

    text: str
    size: float
    colour: str


def said(figure: Figure) -> list[Said]:
    """Everything written in the figure, as the SVG has it."""
    found = re.findall(r"<text style=\"(.*?)\".*?>(.*?)</text>", svg(figure), re.DOTALL)
    assert found
    return [
        Said(
            unescape(text),
            float(re.findall(r"font(?:-size)?:[^;]*?([0-9.]+)px", style)[0]),
            (re.findall(r"fill: (#\w+)", style) or ["#000000"])[0],
        )
        for style, text in found
    ]


def panel(figure: Figure, title: str) -> Axes:
    (found,) = [ax for ax in figure.axes if ax.get_title("left").startswith(title)]
    return found


def contrast(one: str, other: str) -> float:
    """As WCAG defines it."""

    def luminance(colour: str) -> float:
        red, green, blue = (
            c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)
        )
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("shape", get_args(Shape))
@pytest.mark.parametrize("name", DRAWN)
def test_no_text_is_cut_off(name: str, shape: Shape) -> None:
    figure = DRAWN[name](LIGHT, shape)
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert (box.x0 >= 0, box.y0 >= 0, box.x1 <= width, box.y1 <= height) == (True,) * 4


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("name", ["ladder", "comparison", "latency"])
def test_text_is_large_and_dark_enough_to_read(name: str, theme: Theme) -> None:
    for text, size, colour in said(DRAWN[name](theme, "wide")):
        assert size >= 9, text
        assert contrast(colour, theme.paper) >= 4.5, text


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_colours_with_meaning_contrast_with_the_background(theme: Theme) -> None:
    for colour in (theme.old, theme.new, theme.muted, *theme.tiers.values()):
        assert contrast(colour, theme.paper) >= 3


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
def test_neighbouring_tiers_differ_in_lightness_too(theme: Theme) -> None:
    assert contrast(theme.tiers["app"], theme.tiers["database"]) >= 2


def test_the_ladder_has_a_line_for_every_checkpoint_measured_on_the_workload() -> None:
    five = panel(figures.ladder(ROWS, "list"), "Requests")
    assert [label.get_text() for label in five.get_yticklabels()] == made_up.LABELS
    two = panel(figures.ladder(ROWS, "offers"), "Requests")
    assert [label.get_text() for label in two.get_yticklabels()] == ["04 pool", "05 async"]


def test_the_stacked_tiers_add_up_to_the_shops_cost() -> None:
    bars = panel(figures.ladder(ROWS, "offers"), "CPU").patches
    async_bars = [bar for bar in bars if round(bar.get_y() + bar.get_height() / 2) == 1]
    assert sum(bar.get_width() for bar in async_bars) == pytest.approx(0.9 + 0.2)


def test_tiers_are_always_stacked_in_the_same_order() -> None:
    for tiers in ({"app": 3.0, "database": 2.0}, {"database": 2.0, "app": 3.0}):
        row = made_up.comparison("01 w", "02 x", "list", (1.0, 9.0, tiers), (2.0, 8.0, tiers))
        assert figures.data_ladder([row], "list")[0][4:6] == ["of it app", "of it database"]


def test_a_checkpoint_in_the_middle_is_the_mean_of_both_times_it_was_measured() -> None:
    above = made_up.comparison("02 x", "03 y", "list", (30.0, 1.0, {"app": 6.0}), made_up.LIST[2])
    below = made_up.comparison("01 w", "02 x", "list", made_up.LIST[0], (10.0, 1.0, {"app": 2.0}))
    line = figures.data_ladder([below, above], "list")[2]
    assert line[:2] == ["02 x", "20"]
    assert line[3] == "4"


def test_rejected_runs_are_not_drawn() -> None:
    rejected = made_up.comparison(
        "04 pool", "05 async", "list", *made_up.OFFERS, rejected="the machine was busy"
    )
    assert "05 async" not in str(figures.data_ladder([*ROWS[:-6], rejected], "list"))


def test_runs_at_another_number_of_connections_are_not_mixed_in() -> None:
    few = made_up.comparison("01 naive", "02 queries", "offers", *made_up.OFFERS)
    many = made_up.comparison("04 pool", "05 async", "offers", *made_up.OFFERS, connections=1000)
    labels = [line[0] for line in figures.data_ladder([many, few], "offers")[1:]]
    assert labels == ["04 pool", "05 async"]


def test_a_comparison_shows_every_pair_and_its_interval() -> None:
    (ax,) = figures.comparison(OFFERS).axes
    dots = [line for line in ax.lines if line.get_marker() == "o"]
    assert [len(line.get_xdata()) for line in dots] == [12, 12, 3]  # pairs, pairs, starts
    bars = [sorted(line.get_xdata()) for line in ax.lines if line.get_linewidth() == 3]
    assert OFFERS.ratio
    of = OFFERS.ratio
    assert bars == [[x.low, x.high] for x in (of.throughput, of.cost, OFFERS.p50_ratio) if x]


def test_a_lower_bound_is_shown_as_one() -> None:
    assert OFFERS.at_least
    assert "≥ 14.6x (13.9-15.5)" in [text for text, *_ in said(figures.comparison(OFFERS))]
    assert "908  (≥ 14.6x)" in [text for text, *_ in said(figures.ladder(ROWS, "offers"))]
    assert "≥ 14.6x" in figures.alt_comparison(OFFERS)


def test_alt_texts_say_what_the_figure_shows() -> None:
    assert figures.alt_ladder(ROWS, "list") == (
        "5 checkpoints on the workload list, from 01 naive to 05 async. Requests a second go from "
        "4.1 to 330, CPU milliseconds a request from 242 to 3.01, p99 fully loaded from 5,100 "
        "to 160 ms."
    )
    assert "05 async does not" not in figures.alt_comparison(OFFERS)
    assert "does not tell 05 async from 05 async" in figures.alt_comparison(CONTROL)
    assert "40 of 40 failed" in figures.alt_comparison(HOPELESS)
    assert "05 async: half of the answers within 10 ms, 99 % within 30 ms" in figures.alt_latency(
        ANSWERS
    )


def test_data_tables_are_rectangular_and_hold_the_numbers_drawn() -> None:
    for table in (
        figures.data_ladder(ROWS, "list"),
        figures.data_comparison(OFFERS),
    ):
        assert len({len(line) for line in table}) == 1
    assert figures.data_ladder(ROWS, "list")[1] == [
        "01 naive",
        "4.1",
        "",
        "242",
        "190",
        "52",
        "5,100",
    ]
    assert figures.data_comparison(OFFERS)[1] == ["throughput", "14.6x", "13.9x", "15.5x", "12"]


def test_a_percentile_is_the_time_by_which_so_many_answers_had_come() -> None:
    waits = {1: 50, 2: 49, 9: 1}
    assert [histogram_percentile(waits, percent) for percent in (0.1, 50, 50.1, 99, 99.1, 100)] == [
        1,
        1,
        2,
        2,
        9,
        9,
    ]
    assert histogram_percentile({}, 50) is None


def test_the_same_rows_give_the_same_file() -> None:
    drawn = [svg(figures.ladder(ROWS, "list")) for _ in range(2)]
    assert drawn[0] == drawn[1]
    assert png(figures.comparison(OFFERS)).startswith(b"\x89PNG")
