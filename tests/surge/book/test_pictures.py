"""A recorded number reaches the chapter in words, as a table and as a figure."""

import inspect
from pathlib import Path
from types import ModuleType

import made_up
import pytest

from stack.paths import ROOT
from surge.book import blocks, pictures
from surge.measure import ladder, pairs
from surge.present import figures, themes
from surge.results import cost, stats, wording
from surge.results.rows import Comparison, record

CHAPTER = ROOT / "chapters" / "05-async.md"


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
    made = blocks.render("comparison", ["04", "05", "detail"], CHAPTER)
    assert "**05 async is faster than 04 pool on detail: 2.00x" in made
    assert "| CPU ms a request | 3 | 1.5 | 2.00x" in made
    assert "`surge compare 04 05 --workload detail`" in made


def test_an_experiment_is_found_by_its_folder_and_made_in_the_notebook(committed: Path) -> None:
    record(compared("04 pool", "04 pool (work/04-pool-of-4)", 0.5), committed)
    made = blocks.render("comparison", ["04", "work/04-pool-of-4", "detail"], CHAPTER)
    assert "04 pool (work/04-pool-of-4) is slower than 04 pool" in made
    assert "Yours: `surge lab 05`" in made


def test_the_newest_row_is_shown(committed: Path) -> None:
    for factor in (2.0, 3.0):
        record(compared("04 pool", "05 async", factor), committed)
    assert "3.00x" in blocks.render("comparison", ["04", "05", "detail"], CHAPTER)


def test_a_figure_has_alt_text_a_table_and_a_fingerprint(committed: Path) -> None:
    record(compared("04 pool", "05 async", 2.0), committed)
    picture = blocks.picture("figure", ["04", "05", "detail"])
    assert picture
    assert not picture.is_current()
    picture.draw()
    assert picture.is_current()
    drawn = picture.path.read_bytes()
    picture.draw()
    assert picture.path.read_bytes() == drawn
    shown = blocks.render("figure", ["04", "05", "detail"], CHAPTER)
    assert f"![{picture.alt}](" in shown
    assert "<summary>" in shown

    record(compared("04 pool", "05 async", 3.0), committed)
    newer = blocks.picture("figure", ["04", "05", "detail"])
    assert newer
    assert not newer.is_current()


@pytest.mark.parametrize("module", [figures, cost, pairs, ladder, stats, themes, wording])
def test_a_figure_is_stale_when_its_drawing_code_has_changed(
    committed: Path, monkeypatch: pytest.MonkeyPatch, module: ModuleType
) -> None:
    record(compared("04 pool", "05 async", 2.0), committed)
    picture = blocks.picture("figure", ["04", "05", "detail"])
    assert picture
    picture.draw()
    source = inspect.getsource
    changed = {module: "# changed"}
    monkeypatch.setattr(inspect, "getsource", lambda code: changed.get(code) or source(code))
    assert not picture.is_current()


def test_the_ladder_shows_every_step(committed: Path) -> None:
    record(compared("03 pages", "04 pool", 1.5, "hot"), committed)
    record(compared("04 pool", "05 async", 2.0, "hot"), committed)
    shown = blocks.render("ladder", [], CHAPTER)
    for label in ("03 pages", "04 pool", "05 async"):
        assert f"| {label} |" in shown


def test_a_climb_shows_its_steps_as_a_terminal_does_and_as_text(committed: Path) -> None:
    assert "Not recorded yet" in blocks.render("climb", ["05"], CHAPTER)
    record(compared("04 pool", "05 async", 2.0), committed)
    record(compared("04 pool", "05 async", 9.0, "hot"), committed)  # no step of a climb measures it
    record(compared("05 async", "06 logging", 3.0), committed)
    shown = blocks.render("climb", ["05"], CHAPTER)
    assert "$ uv run surge climb --to 05" in shown
    assert "detail ▲ faster 2.00x" in shown
    assert "9.00x" not in shown
    assert "3.00x" not in shown
    picture = blocks.picture("climb", ["05"])
    assert picture
    picture.draw()
    assert picture.is_current()
    assert "2.00x" in picture.path.read_text(encoding="utf-8")
