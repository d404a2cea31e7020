"""No table shows the ratio of a rejected run as if it held."""

from made_up import comparison

from surge.book.markdown import gains_table, short, variants_table
from surge.results.wording import sentence

SIDE = (100.0, 9.0, {"client": 0.1, "app": 1.0})
FASTER = (200.0, 9.0, {"client": 0.1, "app": 0.5})
SLOWER = (50.0, 9.0, {"client": 0.1, "app": 2.0})


def test_a_rejected_ratio_has_its_mark_wherever_it_stands() -> None:
    row = comparison("01 naive", "02 queries", "list", SIDE, FASTER, rejected="too noisy")
    for shown in (variants_table([row]), gains_table([row]), short(row), sentence(row)):
        assert "rejected" in shown


def test_short_shows_a_loss_in_bold_and_in_brackets_what_nobody_can_tell() -> None:
    assert short(comparison("01 naive", "02 queries", "list", SIDE, FASTER)).startswith("2.")
    assert short(comparison("01 naive", "02 queries", "list", SIDE, SLOWER)).startswith("**0.")
    assert short(comparison("01 naive", "02 queries", "list", SIDE, SIDE)).startswith("(")
