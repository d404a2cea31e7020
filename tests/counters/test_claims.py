"""Every counter claim of every checkpoint holds, and no starter gets through its own check."""

from pathlib import Path

import pytest

from stack.checkpoint import Checkpoint, checkpoints
from surge.count import counters
from surge.exercise import check
from surge.run import workspace

STEPS = checkpoints()
TO_PROVE = [*map(Checkpoint.with_own_claims, STEPS[:-1]), STEPS[-1]]
"""As `surge climb` does: what a step keeps from those below is counted at the last."""


@pytest.mark.parametrize("step", TO_PROVE, ids=lambda step: step.label)
def test_every_claim_holds(step: Checkpoint) -> None:
    assert step.claims
    for row in list(counters.claims(step)):
        assert row.holds, f"{row.name}: {row.counter} is {row.value:g}, expected {row.expected}"


@pytest.mark.parametrize("step", STEPS[1:], ids=lambda step: step.label)
def test_a_starter_fails_a_claim_of_its_step(
    step: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(workspace, "WORK", tmp_path)
    starter = check.create_starter(step, fresh=False)
    found = next((row for row in counters.claims(step, starter) if not row.holds), None)
    assert found, "the exercise is already solved"
    assert found.because
