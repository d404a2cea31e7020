"""A step that costs more than an earlier one is found, however many steps lie between."""

from made_up import comparison

from surge.book.losses import Cost, costs, costs_below
from surge.results.rows import Comparison

CHEAP = (100.0, 9.0, {"client": 0.1, "app": 1.0})
DEAR = (90.0, 9.0, {"client": 0.1, "app": 1.2})
DEARER = (80.0, 9.0, {"client": 0.1, "app": 1.45})


def found(rows: list[Comparison], label: str) -> list[Cost]:
    return [cost for cost in costs(rows, label) if cost.is_loss]


def test_small_losses_add_up_to_one() -> None:
    rows = [
        comparison("01 naive", "02 queries", "cold", CHEAP, DEAR),
        comparison("02 queries", "03 pages", "cold", DEAR, DEARER),
    ]
    assert not found(rows, "02 queries")
    [loss] = found(rows, "03 pages")
    assert (loss.workload, loss.best) == ("cold", "01 naive")
    assert 1.3 < loss.factor < 1.6


def test_a_loss_is_one_against_the_cheapest_step_not_the_first() -> None:
    rows = [
        comparison("01 naive", "02 queries", "cold", DEARER, CHEAP),
        comparison("02 queries", "03 pages", "cold", CHEAP, DEARER),
    ]
    [loss] = found(rows, "03 pages")
    assert loss.best == "02 queries"


def test_nothing_is_said_across_a_step_that_was_not_measured_or_was_rejected() -> None:
    rows = [
        comparison("01 naive", "02 queries", "cold", CHEAP, DEARER),
        comparison("02 queries", "03 pages", "cold", CHEAP, DEARER, rejected="too noisy"),
        comparison("03 pages", "04 pool", "cold", CHEAP, DEAR),
        comparison("05 async", "06 logging", "cold", DEAR, DEARER),
    ]
    assert costs(rows, "03 pages") == costs(rows, "05 async") == []
    assert list(costs_below(rows, "04 pool", "cold")) == ["03 pages"]
    assert list(costs_below(rows, "06 logging", "cold")) == ["05 async"]
