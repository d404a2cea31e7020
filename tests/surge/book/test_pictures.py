"""A recorded number reaches the chapter in words, as a table and as a figure."""

import inspect
from pathlib import Path
from types import ModuleType

import made_up
import pytest

from stack.paths import ROOT
from surge.book import blocks, pictures
from surge.measure import cost, ladder, pairs
from surge.present import figures, themes
from surge.results import stats, wording
from surge.results.rows import Comparison, record

FOLDER = ROOT / "chapters"


def compared(a: str, b: str, factor: float, workload: str = "detail") -> Comparison:
    before = (100.0, 50.0, {"client": 0.1, "app": 2.0, "database": 1.0})
    tiers = {"client": 0.1, "app": 2.0 / factor, "database": 1.0 / factor}
    return made_up.comparison(a, b, workload, before, (100.0 * factor, 50.0 / factor, tiers))


@pytest.fixture
def committed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(pictures, "COMMITTED", tmp_path / "results")
    monkeypatch.setattr(pictures, "FOLDER", tmp_path / "figures")
    return tmp_path / "results"


def test_a_row_becomes_a_sentence_with_both_sides(committed: Path) -> None:
    record(compared("04 pool", "05 async", 2.0), committed)
    made = blocks.make("comparison", ["04", "05", "detail"], FOLDER)
    assert "**05 async is faster than 04 pool on detail: 2.00x" in made
    assert "| CPU ms a request | 3 | 1.5 | 2.00x" in made
    assert "`surge compare 04 05 --workload detail`" in made


def test_an_experiment_of_a_notebook_is_found_by_its_folder(committed: Path) -> None:
    record(compared("04 pool", "04 pool (work/04-pool-of-4)", 0.5), committed)
    made = blocks.make("comparison", ["04", "work/04-pool-of-4", "detail"], FOLDER)
    assert "04 pool (work/04-pool-of-4) is slower than 04 pool" in made
    assert "`surge lab 04`" in made
    for step in ("05", "10"):  # both have an experiment of this name
        assert f"`surge lab {step}`" in blocks.command(step, f"work/{step}-one-by-one", "cold")


def test_the_newest_row_counts(committed: Path) -> None:
    for factor in (2.0, 3.0):
        record(compared("04 pool", "05 async", factor), committed)
    assert "3.00x" in blocks.make("comparison", ["04", "05", "detail"], FOLDER)


def test_a_figure_has_words_a_table_and_a_file_that_knows_its_rows(committed: Path) -> None:
    record(compared("04 pool", "05 async", 2.0), committed)
    picture = blocks.picture("figure", ["04", "05", "detail"])
    assert picture
    assert not picture.current()
    picture.draw()
    assert picture.current()
    drawn = picture.path.read_bytes()
    picture.draw()
    assert picture.path.read_bytes() == drawn
    shown = blocks.make("figure", ["04", "05", "detail"], FOLDER)
    assert f"![{picture.alt}](" in shown
    assert "<summary>" in shown

    record(compared("04 pool", "05 async", 3.0), committed)
    newer = blocks.picture("figure", ["04", "05", "detail"])
    assert newer
    assert not newer.current()


@pytest.mark.parametrize("module", [figures, cost, pairs, ladder, stats, themes, wording])
def test_a_figure_is_stale_when_the_code_has_changed_that_makes_it(
    committed: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    record(compared("04 pool", "05 async", 2.0), committed)
    picture = blocks.picture("figure", ["04", "05", "detail"])
    assert picture
    picture.draw()
    source = inspect.getsource
    changed = {module: "# changed"}
    monkeypatch.setattr(inspect, "getsource", lambda code: changed.get(code) or source(code))
    assert not picture.current()


def test_the_ladder_shows_every_step(committed: Path) -> None:
    record(compared("03 pages", "04 pool", 1.5, "hot"), committed)
    record(compared("04 pool", "05 async", 2.0, "hot"), committed)
    shown = blocks.make("ladder", [], FOLDER)
    for label in ("03 pages", "04 pool", "05 async"):
        assert f"| {label} |" in shown
