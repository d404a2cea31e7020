"""Every notebook runs, and is kept with what it showed when it was recorded."""

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import nbformat
import pytest
from nbformat import NotebookNode

from lab.record import NOTEBOOKS
from stack.checkpoint import checkpoints

PATHS = sorted(NOTEBOOKS.glob("*.ipynb"))
RUN = """
import sys, nbformat
from lab.record import execute
execute(nbformat.read(sys.argv[1], as_version=4), "tiny")
"""
each = pytest.mark.parametrize("path", PATHS, ids=lambda path: path.name)


def read(path: Path) -> NotebookNode:
    notebook: NotebookNode = nbformat.read(path, as_version=4)  # type: ignore[no-untyped-call]
    return notebook


def code(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def test_every_checkpoint_has_a_notebook() -> None:
    names = {path.stem for path in PATHS}
    assert {step.directory.name for step in checkpoints()} <= names


@pytest.fixture(scope="module")
def runs() -> Iterator[dict[Path, Future[subprocess.CompletedProcess[str]]]]:
    """Every notebook run from top to bottom, two at a time, each by a process of its own."""
    with ThreadPoolExecutor(2) as lanes:
        yield {path: lanes.submit(run, path) for path in PATHS}
        lanes.shutdown(cancel_futures=True)


def run(path: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", RUN, str(path)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@each
def test_a_notebook_runs_from_top_to_bottom(
    path: Path, runs: dict[Path, Future[subprocess.CompletedProcess[str]]]
) -> None:
    result = runs[path].result()
    assert result.returncode == 0, result.stderr[-3000:]


@each
def test_a_notebook_is_kept_with_its_outputs_and_none_is_an_error(path: Path) -> None:
    cells = code(read(path))
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    assert sum(bool(cell.outputs) for cell in cells) > len(cells) // 2
    for output in [output for cell in cells for output in cell.outputs]:
        assert output.output_type != "error"
        assert output.get("name") != "stderr", output.text


@each
def test_a_notebook_predicts_counts_and_measures(path: Path) -> None:
    source = "\n".join(cell.source for cell in code(read(path)))
    for verb in ("predict(", "count(", "measure(", "reveal("):
        assert verb in source
