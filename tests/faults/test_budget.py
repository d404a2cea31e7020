"""A service that could ask for more connections than there are says so when it starts."""

import re

import pytest
from steps import teaching

from stack.checkpoint import Checkpoint
from stack.errors import StackError
from stack.system import System

BUDGETED = teaching("workers")


@pytest.mark.parametrize("step", BUDGETED, ids=lambda step: step.label)
def test_the_message_does_the_sum_and_its_cure_works(step: Checkpoint) -> None:
    with pytest.raises(StackError) as refused, System(step, size="tiny", max_connections=40):
        pass
    said = str(refused.value)
    assert "2 processes x 20 connections + 6 for workers + 5 for others" in said
    assert "more than the 40" in said
    assert "Traceback" not in said
    cure = re.search(r"POOL_SIZE to (\d+)", said)
    assert cure
    fits = {"POOL_SIZE": cure[1]}
    with System(step, size="tiny", max_connections=40, environment=fits) as system:
        assert len(system.processes()) > 1
    more = {"POOL_SIZE": str(int(cure[1]) + 1)}
    with (
        pytest.raises(StackError, match=f"Set POOL_SIZE to {cure[1]}"),
        System(step, size="tiny", max_connections=40, environment=more),
    ):
        pass


@pytest.mark.parametrize("step", BUDGETED, ids=lambda step: step.label)
def test_where_no_pool_fits_fewer_processes_are_the_cure(step: Checkpoint) -> None:
    with (
        pytest.raises(StackError, match="Run fewer processes, or raise max_connections"),
        System(step, size="tiny", max_connections=12),
    ):
        pass
