"""`surge check --watch` sees every save, whenever it comes."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from stack.checkpoint import find
from surge.exercise import check


class Enough(Exception):
    """The test has seen what it waited for."""


def test_watch_checks_a_save_made_during_a_check(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def record_save(_: Any, directory: Path, *__: Any, **___: Any) -> None:
        seen.append((directory / "main.py").read_text())
        if len(seen) == 3:
            raise Enough
        (directory / "main.py").write_text(f"save {len(seen)}")

    monkeypatch.setattr(check, "check", record_save)
    (tmp_path / "main.py").write_text("the starter")
    with ThreadPoolExecutor(1) as pool:
        watching = pool.submit(check.watch, find("02"), tmp_path, Console(quiet=True))
        try:
            with pytest.raises(Enough):
                watching.result(20)
        finally:
            while not watching.done():
                (tmp_path / "main.py").touch()  # one that has missed a save waits for another
    assert seen == ["the starter", "save 1", "save 2"]
