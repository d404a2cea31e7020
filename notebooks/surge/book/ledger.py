"""The advice ledger: the rows of all chapters on what the articles say, sorted by their ids."""

import re
from pathlib import Path

TITLES = """\
| id | the advice | verdict | see for yourself | chapter |
| --- | --- | --- | --- | --- |"""
ROW = re.compile(r"^\| (A\d\d) \|.*\|$", re.MULTILINE)


def ledger(folder: Path) -> str:
    """The table of all rows of the chapters in `folder`, each with a link to its chapter."""
    lines = []
    for path in sorted(folder.glob("[0-9][0-9]-*.md")):
        section = path.read_text(encoding="utf-8").partition("\n## What the articles say\n")[2]
        for row in ROW.finditer(section):
            lines.append((row[1], f"{row[0]} [{path.name[:2]}]({path.name}) |"))
    return "\n".join([TITLES, *(line for _, line in sorted(lines))])
