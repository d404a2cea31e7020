"""The tables of the terminal, from made-up rows."""

import io
from collections.abc import Sequence

import made_up
import pytest
from rich.console import Console, RenderableType

from surge.crowd.runner import Outcome, RequestStats
from surge.present import tables
from surge.results.rows import Comparison


def shown(what: RenderableType, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    console.print(what)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def line(text: str, *words: str) -> str:
    """The one line that has all these words."""
    (found,) = [line for line in text.splitlines() if all(word in line for word in words)]
    return found


def comparisons(rows: Sequence[object]) -> list[Comparison]:
    return [row for row in rows if isinstance(row, Comparison)]


@pytest.mark.parametrize("width", [80, 100, 140])
def test_the_ladder_has_every_step_and_cuts_nothing_off(width: int) -> None:
    text = shown(tables.ladder(made_up.climb()), width)
    assert [label for label in made_up.LABELS if label not in text] == []
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


def test_a_step_shows_verdict_ratio_and_interval_for_every_workload() -> None:
    text = shown(tables.ladder(made_up.climb()))
    assert line(text, "02 queries", "list", "▲ faster", "5.37x (5.10-5.69)")
    assert line(text, "≈ cannot tell", "1.01x (0.96-1.07)")
    assert line(text, "offers", "▲ faster", "≥ 14.6x (13.9-15.5)")


def test_a_slower_step_is_called_slower() -> None:
    fast, slow = made_up.DETAIL[4], made_up.DETAIL[0]
    text = shown(tables.comparison(made_up.comparison("05 async", "06 x", "detail", fast, slow)))
    assert "▼ slower" in text
    assert "0.11x (0.10-0.11)" in text


def test_waits_are_compared_at_a_moderate_rate_and_not_under_full_load() -> None:
    text = shown(tables.comparison(made_up.comparison("04 x", "05 y", "list", *made_up.LIST[3:5])))
    assert line(text, "p50 ms at 95 a second", "29", "16", "1.81x (1.72-1.92)")
    assert line(text, "p99 ms, fully loaded").split()[-2:] == ["290", "160"]


def test_what_cannot_be_told_says_what_could_have_been() -> None:
    """The interval reaches from 0.95 to 1.06: 1.1 / 0.95, and 1 / 1.1 / 1.06."""
    same = made_up.DETAIL[4], made_up.DETAIL[4]
    text = " ".join(
        shown(tables.comparison(made_up.comparison("04 x", "05 y", "detail", *same))).split()
    )
    assert "misses a true 1.16x, or 0.86x, as often as it sees it" in text
    plain = shown(tables.comparison(made_up.comparison("04 x", "05 y", "list", *made_up.LIST[:2])))
    assert "as often as it sees it" not in plain


def test_a_full_machine_says_so_with_the_share_of_the_load_generator() -> None:
    for idle, said in ((0.02, True), (0.2, False)):
        row = made_up.comparison("04 x", "05 y", "list", *made_up.LIST[:2], idle=idle)
        text = " ".join(shown(tables.comparison(row)).split())
        full = "No processor was idle beside 04 x: the load generator had 30% of the machine"
        assert (full in text) is said


def test_cost_is_the_sum_of_the_shops_own_tiers() -> None:
    text = shown(tables.ladder(made_up.climb()))
    # app 0.9 + database 0.2; the client's 0.1 and the partners' 0.7 are not the shop's.
    assert line(text, "offers").split()[-1] == "1.1"


def test_the_first_step_shows_where_the_climb_starts() -> None:
    text = shown(tables.ladder(made_up.climb()))
    assert line(text, "01 naive", "list", "the start").split()[-1] == "242"


def test_a_claim_that_does_not_hold_is_not_counted_as_held() -> None:
    text = shown(tables.ladder(made_up.climb()))
    assert text.count("2/2 hold") == 4
    assert text.count("1/2 hold") == 1


def test_broken_promises_are_named_instead_of_kept_ones() -> None:
    text = shown(tables.ladder([made_up.contract("01 naive", failed=3)]))
    assert line(text, "01 naive", "3 broken")
    assert "kept" not in line(text, "01 naive")


def test_a_rejected_run_gives_its_reason_and_no_ratio() -> None:
    text = shown(tables.ladder(made_up.climb()))
    assert line(text, "orders", "✕ rejected").split()[-1] == "-"
    assert "other programs used 31 % of the machine" in text


def test_a_run_without_one_good_answer_still_has_a_table() -> None:
    row = comparisons(made_up.climb())[0].model_copy(
        update={"ratio": None, "rejected": "40 of 40 requests failed", "verdict": "cannot tell"}
    )
    assert "40 of 40 requests failed" in shown(tables.comparison(row))


def test_of_two_runs_of_the_same_thing_the_newer_counts() -> None:
    old = made_up.claim("01 naive", "few statements a request", 41.0, holds=False)
    new = made_up.claim("01 naive", "few statements a request", 2.0)
    assert "1/1 hold" in shown(tables.ladder([new, old]))


def test_a_crowd_shows_failures_and_percentiles() -> None:
    visit = RequestStats("GET /products", 1234, 3, 123.4, {10: 98, 20: 1, 300: 1})
    text = shown(tables.crowd(Outcome("viral", 50, 20, [visit], visit, "Locust was busy")))
    cells = text.splitlines()[3].split()
    assert cells == ["GET", "/products", "1,234", "3", "123", "10", "10", "20"]
    assert "rejected: Locust was busy" in text


def test_a_request_that_never_came_has_no_percentiles() -> None:
    visit = RequestStats("POST /orders", 0, 0, 0.0, {})
    text = shown(tables.crowd(Outcome("sale", 5, 2, [visit], visit, None)))
    assert text.splitlines()[3].split() == ["POST", "/orders", "0", "0", "0", "-", "-", "-"]
