"""In a dry run, systems stay up for whoever comes next."""

from collections.abc import Iterator

import pytest

from stack.checkpoint import find
from stack.system import System
from surge.run.reused import ReusedSystem


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    for system in ReusedSystem.running.values():
        System.__exit__(system, None, None, None)
    ReusedSystem.running.clear()


def test_a_system_serves_one_after_the_other_and_two_at_once_get_two() -> None:
    step = find("naive")
    urls = []
    for _ in range(3):
        with ReusedSystem(step, size="tiny") as system:
            urls.append(system.url)
    assert len(set(urls)) == 1
    with ReusedSystem(step, size="tiny") as one, ReusedSystem(step, size="tiny") as other:
        assert one.url == urls[0] != other.url
