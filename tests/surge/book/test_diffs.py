"""What changed between two checkpoints, from two small made-up ones."""

import io
from pathlib import Path

import pytest
from rich.console import Console

from stack.checkpoint import Checkpoint, read
from surge.book import diffs

TOML = """\
number = {number}
name = "{name}"
title = "A title"
change = "a change"
touches = ["app/shelf.py", "indexes.sql"]
shows = ["list"]

[serve]
command = ["uvicorn", "app.main:app"]
services = ["postgres"]
{more}
[[claim]]
name = "few statements"
workload = "list"
counter = "sql.statements"
at_most = {number}
because = "chapters/x.md"

[[hint]]
text = "a secret of {name}"
"""


Pair = tuple[Checkpoint, Checkpoint]


def checkpoint(
    folder: Path, number: int, name: str, more: str, files: dict[str, str]
) -> Checkpoint:
    root = folder / f"{number:02d}_{name}"
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)
    (root / "checkpoint.toml").write_text(TOML.format(number=number, name=name, more=more))
    return read(root)


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    same = {"app/same.py": "same = True\n", "README.md": "words\n"}
    before = {
        "app/main.py": "a = 1\nb = 2\n",
        "app/shelf.py": "x = 1\n",
        "app/old.py": "old = 1\n",
        "README.md": "more words\n",
    }
    after = {
        "app/main.py": "a = 1\nb = 3\n",
        "app/shelf.py": "x = 2",
        "indexes.sql": "CREATE INDEX ON x (y);\n",
    }
    return (
        checkpoint(tmp_path, 1, "slow", "", same | before),
        checkpoint(tmp_path, 2, "fast", 'sql = ["indexes.sql"]\n', same | after),
    )


def rendered(pair: Pair, stat: bool = False, tty: bool = False) -> str:
    console = Console(
        file=io.StringIO(), force_terminal=tty, color_system="standard" if tty else None, width=20
    )
    diffs.render(*pair, stat, console)
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_files_come_in_reading_order(pair: Pair) -> None:
    """What the step is about first, as it names it; then the entry; the configuration last."""
    assert [change.path for change in diffs.changes(*pair)] == [
        "app/shelf.py",
        "indexes.sql",
        "app/main.py",
        "app/old.py",
        "checkpoint.toml",
    ]


def test_claims_and_hints_are_not_given_away(pair: Pair) -> None:
    text = diffs.unified(*pair, "checkpoint.toml")
    assert '+sql = ["indexes.sql"]\n' in text
    assert "secret" not in text
    assert "at_most" not in text


def test_one_file_can_be_asked_for(pair: Pair) -> None:
    assert diffs.unified(*pair, "app/main.py") == (
        "--- 01_slow/app/main.py\n"
        "+++ 02_fast/app/main.py\n"
        "@@ -1,2 +1,2 @@\n"
        " a = 1\n"
        "-b = 2\n"
        "+b = 3\n"
    )
    assert diffs.unified(*pair, "app/same.py") == ""


def test_new_and_deleted_files_are_marked_as_such(pair: Pair) -> None:
    assert diffs.unified(*pair, "indexes.sql").startswith(
        "--- /dev/null\n+++ 02_fast/indexes.sql\n"
    )
    assert diffs.unified(*pair, "app/old.py").startswith("--- 01_slow/app/old.py\n+++ /dev/null\n")


def test_a_missing_end_of_line_does_not_glue_lines_together(pair: Pair) -> None:
    assert diffs.unified(*pair, "app/shelf.py").endswith(
        "-x = 1\n+x = 2\n\\ No newline at end of file\n"
    )


def test_away_from_a_terminal_it_is_the_bare_diff(pair: Pair) -> None:
    """Also where lines are longer than the console is wide."""
    assert rendered(pair) == diffs.unified(*pair)


def test_in_a_terminal_lines_that_came_and_went_have_colours(pair: Pair) -> None:
    text = rendered(pair, tty=True)
    assert "\x1b[31m-b = 2\x1b[0m\n\x1b[32m+b = 3\x1b[0m\n" in text


def test_stat_is_a_line_a_file_and_a_sum(pair: Pair) -> None:
    lines = rendered(pair, stat=True).splitlines()
    assert lines[0].split() == ["app/shelf.py", "2", "+-"]
    assert lines[1].split() == ["indexes.sql", "1", "+"]
    assert lines[-1] == "5 files, 4 lines added, 3 removed"
    assert len(lines) == 6


def test_equal_checkpoints_say_so(pair: Pair) -> None:
    assert rendered((pair[0], pair[0])) == "01 slow and 01 slow are the same.\n"
