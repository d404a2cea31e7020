"""A surge: its shape, its notes, its figure, and a real one."""

from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any, get_args

import pytest
from rich.console import Console
from test_figures import contrast, said
from test_tables import line, shown

from stack.checkpoint import find
from stack.errors import StackError
from stack.system import System
from surge import notebook
from surge.crowd import runner, timeline
from surge.crowd.runner import Outcome
from surge.crowd.surge_shape import phases, shoppers
from surge.crowd.timeline import TimedRequest, Timeline, Window
from surge.present import surge_figure, tables
from surge.present.figures import Shape
from surge.present.themes import DARK, LIGHT, Theme
from surge.run import scale

QUICK = [TimedRequest(second / 10, 10, False) for second in range(90)]
LATE = [
    TimedRequest(2.5, 1600, False),
    TimedRequest(3.5, 10_000, True),
    TimedRequest(9.4, 200, False),
]
MADE_UP = Timeline(200, 9, QUICK + LATE)
SURGES = {"01 naive": MADE_UP, "16 resilient": Timeline(2_000, 9, QUICK)}


def test_the_middle_phase_has_ten_times_the_shoppers() -> None:
    passed = [0, 9.9, 10, 19.9, 20, 29.9, 30, 31]
    assert [shoppers(200, 30, at) for at in passed] == [20, 20, 200, 200, 20, 20, None, None]


@pytest.mark.parametrize("seconds", [3, 4, 5, 20, 600])
def test_the_phases_fill_the_time_without_a_gap(seconds: int) -> None:
    found = phases(50, seconds)
    assert (found[0].begins, found[-1].ends) == (0, seconds)
    assert all(one.ends == next.begins for one, next in pairwise(found))
    assert all(phase.ends > phase.begins for phase in found)


def test_every_phase_has_a_shopper() -> None:
    assert [phase.title for phase in phases(5, 3)] == [
        "calm, 1 shopper",
        "surge, 5 shoppers",
        "calm after, 1 shopper",
    ]


def test_too_short_a_surge_is_refused_before_anything_starts() -> None:
    with pytest.raises(StackError, match="at least"):
        runner.run("http://127.0.0.1:1", "surge", 10, 2, False, Console(quiet=True))


def test_a_request_counts_where_it_was_asked_and_an_answer_where_it_came() -> None:
    calm, surge, after = (met for _, met in MADE_UP.by_phase())
    # Asked at 2.5 and answered at 4.1: a request of the calm, an answer of the surge.
    assert calm == Window(0, 3, requests=31, failed=0, answered=10, p50=10, p99=1600)
    assert surge == Window(3, 6, requests=31, failed=1, answered=31 / 3, p50=10, p99=10_000)
    # Asked when the time was up: a request of the last second, its answer of none.
    assert after == Window(6, 9, requests=31, failed=0, answered=10, p50=10, p99=200)


def test_no_second_is_lost_however_it_is_cut() -> None:
    for step in (1, 2, 4, 9):
        pieces = MADE_UP.windows(0, 9, step)
        assert sum(piece.requests for piece in pieces) == len(QUICK + LATE)
        assert (pieces[0].begins, pieces[-1].ends) == (0, 9)


def test_a_window_without_requests_has_no_percentiles() -> None:
    silent = Timeline(10, 3, []).window(0, 3)
    assert silent == Window(0, 3, requests=0, failed=0, answered=0, p50=None, p99=None)


def test_notes_are_read_as_they_were_written(tmp_path: Path) -> None:
    timeline.write(LATE, tmp_path / "notes")
    assert timeline.read(tmp_path / "notes") == LATE


def test_the_table_has_every_phase_and_what_it_is_made_of() -> None:
    text = shown(tables.surge(MADE_UP), 80)
    assert line(text, "surge, 200 shoppers").split()[3:] == ["31", "1", "10.3", "10", "10,000"]
    assert line(text, "  3-4 ").split() == ["3-4", "11", "1", "10", "10", "10,000"]
    assert "…" not in text
    assert shown(tables.surge(Timeline(2_000, 600, [])), 80).count("\n") < 40


@pytest.mark.parametrize("theme", [LIGHT, DARK], ids=["light", "dark"])
@pytest.mark.parametrize("shape", get_args(Shape))
def test_the_figure_is_whole_and_legible(theme: Theme, shape: Shape) -> None:
    figure = surge_figure.surge(SURGES, theme, shape)
    figure.draw_without_rendering()
    box = figure.get_tightbbox()
    width, height = figure.get_size_inches()
    assert (box.x0 >= 0, box.y0 >= 0, box.x1 <= width, box.y1 <= height) == (True,) * 4
    for text, size, colour in said(figure):
        assert size >= 9, text
        assert contrast(colour, theme.paper) >= 4.5, text


@pytest.mark.parametrize("shape", get_args(Shape))
def test_a_quantity_has_the_same_scale_for_every_step(shape: Shape) -> None:
    axes = surge_figure.surge(SURGES, shape=shape).axes
    titles = [f"{who}: {what}" for what in surge_figure.PANELS for who in SURGES]
    assert [ax.get_title("left") for ax in axes] == titles
    for one, other in zip(axes[::2], axes[1::2], strict=True):
        assert one.get_ylim() == other.get_ylim()


def test_a_surge_without_answers_is_drawn() -> None:
    figure = surge_figure.surge({"01 naive": Timeline(10, 3, [])})
    assert "none" in [text for text, _, _ in said(figure)]


def test_the_figure_has_alt_text_and_a_table() -> None:
    assert (
        "01 naive: calm, 20 shoppers: 10 answers a second, 99 % of the waits within 1,600 ms, "
        "0 of 31 requests failed; surge, 200 shoppers: 10.3 answers a second"
    ) in surge_figure.alt_surge(SURGES)
    table = surge_figure.data_surge(SURGES)
    assert {len(cells) for cells in table} == {8}
    assert table[2] == ["01 naive", "surge", "200", "31", "1", "10.3", "10", "10,000"]


@pytest.fixture(scope="module")
def met() -> Iterator[Outcome]:
    """A small surge against a small shop."""
    with System(find("05"), size="tiny") as system:
        yield runner.run(system.url, "surge", 10, 6, False, Console(quiet=True))


def test_every_request_of_a_real_surge_is_noted(met: Outcome) -> None:
    assert met.rejected is None
    assert met.timeline
    found = [phase for _, phase in met.timeline.by_phase()]
    assert sum(phase.requests for phase in found) == met.total.requests > 0
    assert sum(phase.failed for phase in found) == met.total.failures == 0


def test_a_real_surge_is_calm_first_and_calm_after(met: Outcome) -> None:
    assert met.timeline
    calm, surge, after = (phase.requests for _, phase in met.timeline.by_phase())
    assert min(calm, after) > 0
    assert surge >= 10  # everybody asks on arrival
    assert surge > max(calm, after)


def test_a_notebook_draws_a_surge_and_tables_its_phases(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    for module in (notebook, scale):
        monkeypatch.setattr(module, "SCALE", scale.SCALES["tiny"])
    monkeypatch.setattr(notebook, "display", shown.append)
    notebook.surge("01", "05")  # at this size a glance at the last
    heading, image, table = shown
    assert heading.data == "A surge of 20 shoppers, 3 s each:"
    assert image.alt.startswith("05 async: calm, 2 shoppers")
    found = [cells.split(" | ")[1:3] for cells in table.data.splitlines()[2:]]
    assert found == [["calm", "2"], ["surge", "20"], ["calm after", "2"]]
