"""What changed between two checkpoints: the lesson of a step, as a diff."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import chain, islice

from rich.console import Console
from rich.text import Text

from stack.checkpoint import Checkpoint

CONFIGURATION = "checkpoint.toml"
STYLES = {"+": "green", "-": "red", "@": "cyan"}
BAR = 40


@dataclass(frozen=True)
class Change:
    """One file that differs."""

    path: str
    text: str
    """Its unified diff."""
    added: int
    removed: int


def unified(a: Checkpoint, b: Checkpoint, path: str | None = None) -> str:
    """The unified diff of two checkpoints, or of one file of theirs; empty when nothing differs."""
    return "".join(change.text for change in changes(a, b) if path in (None, change.path))


def changes(a: Checkpoint, b: Checkpoint) -> list[Change]:
    """The files that differ, in the order in which to read them."""
    before, after = _files(a), _files(b)
    paths = sorted(before.keys() | after.keys(), key=lambda path: _reading_order(b, path))
    found = [
        _change(f"{a.directory.name}/{path}", f"{b.directory.name}/{path}", path, before, after)
        for path in paths
    ]
    return [change for change in found if change.text]


def render(a: Checkpoint, b: Checkpoint, stat: bool, console: Console) -> None:
    """Print the difference: coloured in a terminal, the bare unified diff anywhere else."""
    found = changes(a, b)
    if not found:
        console.print(f"{a.label} and {b.label} are the same.", highlight=False, soft_wrap=True)
        return
    for line in _stat(found) if stat else chain.from_iterable(map(_coloured, found)):
        console.print(line, soft_wrap=True)


def _files(checkpoint: Checkpoint) -> dict[str, list[str]]:
    """The lines of every file that makes the service what it is, by path."""
    root = checkpoint.directory
    paths = [*root.glob("*.sql"), *root.glob("app/**/*.py"), *root.glob("app/**/*.sql")]
    files = {
        str(path.relative_to(root)): path.read_text(encoding="utf-8").splitlines(keepends=True)
        for path in paths
    }
    return files | {CONFIGURATION: _configuration(checkpoint)}


def _configuration(checkpoint: Checkpoint) -> list[str]:
    """How it is served. Claims and hints stay out: they would give the step's answers away."""
    shown, lines = False, []
    text = (checkpoint.directory / CONFIGURATION).read_text(encoding="utf-8")
    for line in text.splitlines(keepends=True):
        if line.startswith("["):
            shown = line.startswith("[serve")
        if shown and line.strip():
            lines.append(line)
    return lines


def _reading_order(b: Checkpoint, path: str) -> tuple[int, int, str]:
    """First the files the step is about, in the order it names them; then tables before code."""
    kinds = [path.endswith(".sql"), path == "app/main.py", path != CONFIGURATION, True]
    named = b.touches.index(path) if path in b.touches else len(b.touches)
    return named, kinds.index(True), path


def _change(
    old: str, new: str, path: str, before: dict[str, list[str]], after: dict[str, list[str]]
) -> Change:
    lines = list(
        difflib.unified_diff(
            before.get(path, []),
            after.get(path, []),
            old if path in before else "/dev/null",
            new if path in after else "/dev/null",
        )
    )
    hunks = lines[2:]
    return Change(
        path=path,
        text="".join(_ended(line) for line in lines),
        added=sum(line.startswith("+") for line in hunks),
        removed=sum(line.startswith("-") for line in hunks),
    )


def _ended(line: str) -> str:
    """A file's last line may lack its end; `patch` wants to know."""
    return line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n"


def _coloured(change: Change) -> Iterator[Text]:
    lines = iter(change.text.splitlines())
    for line in islice(lines, 2):
        yield Text(line, "bold")
    for line in lines:
        yield Text(line, STYLES.get(line[0], ""))


def _stat(found: list[Change]) -> Iterator[Text]:
    width = max(len(change.path) for change in found)
    scale = min(1.0, BAR / max(change.added + change.removed for change in found))
    for change in found:
        yield Text.assemble(
            f"{change.path:<{width}}  {change.added + change.removed:>4} ",
            ("+" * round(change.added * scale), STYLES["+"]),
            ("-" * round(change.removed * scale), STYLES["-"]),
        )
    files = f"{len(found)} file" if len(found) == 1 else f"{len(found)} files"
    added, removed = sum(change.added for change in found), sum(change.removed for change in found)
    yield Text(f"{files}, {added} lines added, {removed} removed", "bold")
