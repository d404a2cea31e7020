"""Every counter claim of every checkpoint holds, and no starter gets through its own check."""

from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from lab import counters, turn
from lab.results import ClaimRow
from stack.checkpoint import Checkpoint, before, checkpoints

STEPS = checkpoints()


@pytest.fixture(scope="module")
def counted() -> Iterator[dict[str, Future[list[ClaimRow]]]]:
    """Every step's claims. What is exact may be counted two steps at a time."""
    with ThreadPoolExecutor(2) as lanes:
        yield {step.label: lanes.submit(lambda s: list(counters.claims(s)), step) for step in STEPS}
        lanes.shutdown(cancel_futures=True)


@pytest.fixture(scope="module")
def failing(
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[dict[str, Future[ClaimRow | None]]]:
    """The first claim that each step's starter does not keep."""
    folder = tmp_path_factory.mktemp("work")

    def first(step: Checkpoint) -> ClaimRow | None:
        starter = turn.start(step, fresh=False)
        return next((row for row in counters.claims(step, starter) if not row.holds), None)

    with pytest.MonkeyPatch.context() as patch, ThreadPoolExecutor(2) as lanes:
        patch.setattr(turn, "WORK", folder)
        yield {step.label: lanes.submit(first, step) for step in STEPS[1:]}
        lanes.shutdown(cancel_futures=True)


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.label)
def test_every_claim_holds(step: Checkpoint, counted: dict[str, Future[list[ClaimRow]]]) -> None:
    for row in counted[step.label].result():
        assert row.holds, f"{row.name}: {row.counter} is {row.value:g}, expected {row.expected}"


@pytest.mark.parametrize("step", STEPS[1:], ids=lambda step: step.label)
def test_a_starter_fails_a_claim_of_its_step(
    step: Checkpoint, failing: dict[str, Future[ClaimRow | None]]
) -> None:
    found = failing[step.label].result()
    assert found, "the exercise is already solved"
    assert found.because


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.label)
def test_a_step_teaches_something_to_count(step: Checkpoint) -> None:
    assert step.claims
    assert step.predictions
    if before(step):
        assert len(step.hints) >= 3
        assert all(hint.text.strip() for hint in step.hints)
