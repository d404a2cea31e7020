"""From ratios to a verdict: no difference is not called one, a real one is."""

import math
from statistics import median

import made_up
import pytest
from hypothesis import given, strategies as st

from surge.measure.power import covered, noise_of_pairs, seen, simulate
from surge.results.rows import Effort, Interval
from surge.results.stats import (
    INDIFFERENCE,
    decide,
    interval,
    percentile,
    smallest_seen,
    too_wide,
)

NOISE = 0.13
"""Of the pairs of the recorded rows, as the notebook of chapter 00 finds it."""


def verdicts(truth: float, effort: Effort = "quick", runs: int = 50) -> list[str]:
    return [decide(simulate(truth, effort, NOISE, seed)) for seed in range(runs)]


def test_two_identical_systems_are_hardly_ever_told_apart() -> None:
    assert verdicts(1.0).count("cannot tell") >= 49


def test_a_bias_of_five_percent_in_every_start_is_not_called_a_difference() -> None:
    assert verdicts(1.05).count("cannot tell") >= 48


@pytest.mark.parametrize(("truth", "expected"), [(1.5, "faster"), (1 / 1.5, "slower")])
def test_a_step_of_fifty_percent_is_seen_in_most_quick_runs(truth: float, expected: str) -> None:
    assert verdicts(truth).count(expected) >= 40


def test_a_doubling_is_always_seen() -> None:
    assert set(verdicts(2.0)) == {"faster"}
    assert set(verdicts(0.5)) == {"slower"}


def test_the_smallest_difference_said_to_be_visible_is_seen_about_half_the_time() -> None:
    visible = [smallest_seen(simulate(1.0, "quick", NOISE, seed)) for seed in range(50)]
    slower, faster = (median(side) for side in zip(*visible, strict=True))
    assert 1 / slower == pytest.approx(faster, rel=0.1)
    assert 15 <= verdicts(faster).count("faster") <= 35
    assert 15 <= verdicts(slower).count("slower") <= 35


def test_the_interval_covers_the_truth_in_nine_of_ten_quick_runs() -> None:
    assert covered(1.5, "quick", NOISE, 100) > 0.85


def test_a_full_run_sees_more_than_a_quick_one() -> None:
    assert seen(1.3, "quick", NOISE, 30) < 0.75 < seen(1.3, "full", NOISE, 30)


def test_the_noise_of_pairs_is_found_again() -> None:
    pairs = [[math.exp(0.2 * sign) for sign in (-1, 1)] for _ in range(3)]
    row = made_up.comparison("04 x", "05 y", "list", *made_up.LIST[3:5])
    samples = [
        row.samples[0].model_copy(
            update={"start": start, "pair": pair, "side": side, "throughput": speed}
        )
        for start, ratios in enumerate(pairs)
        for pair, ratio in enumerate(ratios)
        for side, speed in (("a", 100.0), ("b", 100.0 * ratio))
    ]
    found = noise_of_pairs([row.model_copy(update={"samples": samples})])
    assert found == pytest.approx(0.2 * math.sqrt(2))


def test_the_start_that_differs_widens_the_interval_more_than_its_pairs_do() -> None:
    """The bootstrap is hierarchical: twelve pairs of three starts are not twelve starts."""
    by_start = [[1.0] * 4, [1.2] * 4, [1.4] * 4]
    mixed = [[1.0, 1.2, 1.4, 1.2]] * 3
    one, other = interval(by_start), interval(mixed)
    assert one.median == other.median == 1.2
    assert one.high - one.low > other.high - other.low


def test_the_same_samples_give_the_same_interval() -> None:
    assert simulate(1.2, "quick", NOISE, 1) == simulate(1.2, "quick", NOISE, 1)


def test_starts_may_have_different_numbers_of_pairs() -> None:
    ratio = interval([[2.0, 2.0], [2.0] * 6])
    assert (ratio.low, ratio.median, ratio.high) == (2.0, 2.0, 2.0)


@given(st.lists(st.lists(st.floats(0.1, 10), min_size=1, max_size=4), min_size=1, max_size=4))
def test_the_interval_is_in_order_and_within_what_was_seen(starts: list[list[float]]) -> None:
    ratio = interval(starts)
    seen = [pair for start in starts for pair in start]
    assert min(seen) <= ratio.low <= ratio.high <= max(seen)


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [
        (INDIFFERENCE + 0.01, 2.0, "faster"),
        (INDIFFERENCE - 0.01, 2.0, "cannot tell"),
        (0.5, 1 / INDIFFERENCE - 0.01, "slower"),
        (0.5, 1 / INDIFFERENCE + 0.01, "cannot tell"),
    ],
)
def test_the_whole_interval_must_lie_beyond_the_band(
    low: float, high: float, expected: str
) -> None:
    assert decide(Interval(median=1.0, low=low, high=high)) == expected


def test_an_interval_is_too_wide_only_where_it_decides_nothing() -> None:
    assert too_wide(Interval(median=1.0, low=0.7, high=1.5))
    assert not too_wide(Interval(median=1.0, low=0.95, high=1.05))
    assert not too_wide(Interval(median=4.0, low=2.0, high=9.0))


def test_a_percentile_is_one_of_the_values() -> None:
    values = [float(n) for n in range(1, 101)]
    assert percentile(values, 99) == 99
    assert percentile(values, 50) == 50
    assert percentile(values, 100) == 100
    assert percentile([7.0], 99) == percentile([7.0], 1) == 7
