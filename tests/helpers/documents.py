"""The book as its tests see it: documents, and what Markdown says they hold."""

import re
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from markdown_it import MarkdownIt
from markdown_it.token import Token

from stack.paths import ROOT


@dataclass(frozen=True)
class Document:
    """A Markdown file."""

    path: Path

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))

    @cached_property
    def text(self) -> str:
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tokens(self) -> list[Token]:
        return MarkdownIt("commonmark").enable("table").parse(self.text)

    @property
    def fences(self) -> list[Token]:
        """The fenced code blocks: `map` is where, `info` the language."""
        return [token for token in self.tokens if token.type == "fence"]

    def headings(self, level: int) -> list[str]:
        """The headings of a level, top to bottom."""
        return [
            self.tokens[place + 1].content
            for place, token in enumerate(self.tokens)
            if token.type == "heading_open" and token.tag == f"h{level}"
        ]

    @property
    def anchors(self) -> set[str]:
        """What `#…` in a link may name, as GitHub makes it from the headings."""
        return {anchor(heading) for level in range(1, 7) for heading in self.headings(level)}

    @property
    def links(self) -> list[str]:
        """The targets of links and pictures."""
        inline = [child for token in self.tokens for child in token.children or []]
        targets = [token.attrGet("href") or token.attrGet("src") for token in inline]
        return [str(target) for target in targets if target]


def anchor(heading: str) -> str:
    """Lower case, no punctuation, hyphens for blanks."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


CHAPTERS = [Document(path) for path in sorted((ROOT / "chapters").glob("*.md"))]
STEPS = [chapter for chapter in CHAPTERS if re.match(r"(?!00)\d\d-", chapter.path.name)]
GUIDES = [ROOT / "README.md", ROOT / ".github" / "CONTRIBUTING.md"]
READMES = [Document(path) for path in [*GUIDES, *ROOT.glob("checkpoints/*/README.md")]]
