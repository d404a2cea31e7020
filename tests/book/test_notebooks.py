"""Every notebook runs, and is kept with what it showed when it was recorded."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from stack.checkpoint import checkpoints, find
from stack.host.account import account
from stack.paths import ROOT
from stack.processes.reaper import RUN_VARIABLE
from stack.processes.run import Run

PATHS = sorted((ROOT / "notebooks").glob("*.ipynb"))
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)
STEPS = [path for path in PATHS if not path.name.startswith("00")]
of_each_step = pytest.mark.parametrize("path", STEPS, ids=lambda path: path.name)


def read(path: Path) -> Any:
    # Here: it takes as long as all else that is imported, and every process collects this file.
    import nbformat

    return nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]


def code(notebook: Any) -> list[Any]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_checkpoint_has_a_notebook() -> None:
    names = {path.stem for path in PATHS}
    assert {step.directory.name for step in checkpoints()} <= names


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a test starts ends with it, however it ends."""
    who = account()
    run = Run(who.home, who)
    monkeypatch.setenv(RUN_VARIABLE, run.id)
    yield
    run.close()


@each
@pytest.mark.usefixtures("mortal")
def test_a_notebook_runs_from_top_to_bottom(path: Path) -> None:
    from surge.book.record import execute  # here for the same reason

    execute(read(path), "tiny")


@each
def test_a_notebook_is_committed_with_outputs_and_without_errors(path: Path) -> None:
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) // 2
    for output in [output for cell in cells for output in cell.outputs]:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text


@of_each_step
def test_a_notebook_predicts_counts_and_measures(path: Path) -> None:
    source = "\n".join(cell.source for cell in code(read(path)))
    for verb in ("predict(", "count(", "measure(", "reveal("):
        assert verb in source


@of_each_step
def test_the_recorded_claims_of_a_notebook_hold(path: Path) -> None:
    own = f'count("{path.stem.partition("_")[0]}")'
    [cell] = [cell for cell in code(read(path)) if own in cell.source.splitlines()]
    [output] = cell.outputs
    assert "✓" in output.data["text/markdown"]
    assert "✕" not in output.data["text/markdown"]


@of_each_step
def test_a_notebook_shows_the_current_questions(path: Path) -> None:
    shown = "".join(
        text
        for cell in code(read(path))
        for output in cell.outputs
        for text in output.get("data", {}).get("text/markdown", "")
    )
    for asked in find(path.stem.partition("_")[0]).predictions:
        assert shown.count(f"| {asked.question} |") == 2  # when it is asked, and with its answer
