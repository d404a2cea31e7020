"""In a dry run, systems stay up for whoever comes next."""

from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from stack.checkpoint import find
from stack.errors import StackError
from stack.system import System
from surge.run import variants
from surge.run.reused import ReusedSystem


@pytest.fixture(autouse=True)
def _ended() -> Iterator[None]:
    yield
    for system in ReusedSystem.running:
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


def test_an_experiment_gets_the_servers_with_a_service_of_its_own(tmp_path: Path) -> None:
    step = find("pool")
    changed = variants.what_if("pool", "x", "app/main.py", ("shop", "another"), work=tmp_path)
    with ReusedSystem(step, size="tiny") as system:
        database, one = system.database_url, system.url
    with ReusedSystem(step, changed, size="tiny") as system:
        assert (system.database_url, system.directory) == (database, changed)
        assert "another" in httpx2.get(f"{system.url}/openapi.json").text
        assert system.url != one
    with ReusedSystem(step, size="tiny") as system:
        assert (system.database_url, system.directory) == (database, step.directory)
        assert "another" not in httpx2.get(f"{system.url}/openapi.json").text


def test_an_experiment_with_other_indexes_gets_servers_of_its_own(tmp_path: Path) -> None:
    step = find("pool")
    changed = variants.what_if("pool", "x", "indexes.sql", ("CREATE", "-- CREATE"), work=tmp_path)
    with ReusedSystem(step, size="tiny") as system:
        database = system.database_url
    with ReusedSystem(step, changed, size="tiny") as system:
        assert system.database_url != database


def test_a_service_that_does_not_come_up_takes_its_servers_along(tmp_path: Path) -> None:
    step = find("pool")
    broken = variants.what_if("pool", "x", "app/main.py", ("import", "imp0rt"), work=tmp_path)
    with ReusedSystem(step, size="tiny"):
        pass
    with pytest.raises(StackError, match="SyntaxError"), ReusedSystem(step, broken, size="tiny"):
        pass
    assert not ReusedSystem.running
    with ReusedSystem(step, size="tiny") as system:
        assert httpx2.get(f"{system.url}/products/1").status_code == 200
