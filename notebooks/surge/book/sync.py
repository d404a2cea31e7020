"""Brings the generated blocks of the chapters up to date: listings, diffs, tables and pictures.

A generated block stands between two comments, which no Markdown viewer shows:

    <!-- listing checkpoints/05_async/app/partners.py#fetch_offer -->
    ...
    <!-- end -->

The first says what to generate (see `surge.book.blocks`); the lines between them are replaced.
Causes are checked on the way (see `surge.book.evidence`).
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

from stack.errors import StackError
from stack.paths import ROOT
from surge.book import blocks, evidence
from surge.book.pictures import Picture

START = re.compile(rf"<!-- ({'|'.join(blocks.KINDS)})( .*)? -->")
END = "<!-- end -->"


@dataclass(frozen=True)
class Block:
    """A generated block: what its marker asks for, and the lines between its two markers."""

    kind: str
    arguments: list[str]
    first: int
    last: int


def find_blocks(text: str) -> Iterator[Block]:
    """The generated blocks of a document, top to bottom.

    Raises:
        StackError: a block has no end, or an end has no block.
    """
    opened: Block | None = None
    for number, line in enumerate(text.splitlines()):
        start = START.fullmatch(line)
        if start and opened:
            break
        if start:
            opened = Block(start[1], (start[2] or "").split(), number + 1, 0)
        elif line == END:
            if not opened:
                raise StackError(f"line {number + 1}: `{END}` ends no block. Remove it.")
            yield replace(opened, last=number)
            opened = None
    if opened:
        raise StackError(f"line {opened.first}: the block has no end. Add `{END}`.")


def generate(text: str, document: Path) -> str:
    """The text of a document with every block generated anew."""
    lines = text.splitlines()
    for block in reversed(list(find_blocks(text))):
        made = blocks.render(block.kind, block.arguments, document)
        lines[block.first : block.last] = ["", *made.splitlines(), ""]
    return "\n".join(lines) + "\n"


def documents() -> list[Path]:
    """The documents that hold generated blocks."""
    return [ROOT / "README.md", *sorted((ROOT / "chapters").glob("*.md"))]


def sync(check: bool) -> list[Path]:
    """Generate all blocks and pictures anew; returns the files that were stale.

    Args:
        check: change nothing.

    Raises:
        StackError: a marker is broken, asks for something that is not there, or binds a cause to
            what does not show it.
    """
    stale = []
    pictures: dict[Path, Picture] = {}
    for path in documents():
        text = path.read_text(encoding="utf-8")
        try:
            evidence.check(text)
            made = generate(text, path)
            shown = [blocks.picture(block.kind, block.arguments) for block in find_blocks(text)]
        except StackError as error:
            raise StackError(f"{path.relative_to(ROOT)}: {error}") from None
        pictures |= {picture.path: picture for picture in shown if picture}
        if made != text:
            stale.append(path)
            if not check:
                path.write_text(made, encoding="utf-8")
    for picture in pictures.values():
        if not picture.is_current():
            stale.append(picture.path)
            if not check:
                picture.draw()
    return [path.relative_to(ROOT) for path in stale]
