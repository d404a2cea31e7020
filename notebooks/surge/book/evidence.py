"""Binds a cause in the text to what shows it, as a number is bound to its row.

Above a paragraph that says why something is so stands what took the cause away, or counted it:

    <!-- shown comparison 02 work/02-no-index list -->
    <!-- shown variants 13 1-process,3-processes cold -->
    <!-- shown output 14_balanced together -->
    <!-- shown claim 14 sql.statements -->

The row, the cell or the claim must be there, recorded; a rejected row shows nothing.
"""

import re

from stack.checkpoint import find
from stack.errors import StackError
from stack.paths import ROOT
from surge.book import pictures
from surge.book.blocks import each_variant, render

MARKER = re.compile(r"<!-- shown (\S+) (.+) -->")


def check(text: str) -> None:
    """Check every marker of a document.

    Raises:
        StackError: what shows a cause is not there, or does not hold; names the line.
    """
    for number, line in enumerate(text.splitlines(), 1):
        if marker := MARKER.fullmatch(line):
            kind, arguments = marker[1], marker[2].split()
            if doubt := doubt_about(kind, arguments):
                raise StackError(f"line {number}: `{kind} {marker[2]}` shows nothing: {doubt}.")


def doubt_about(kind: str, arguments: list[str]) -> str | None:
    """Why this shows nothing, if it does not.

    Raises:
        StackError: a notebook has no such cell, or it shows no table.
    """
    match kind, arguments:
        case "comparison", [a, b, workload]:
            return doubt_about_row(a, b, workload)
        case "variants", [a, names, workloads]:
            doubts = (doubt_about_row(a, *one) for one in each_variant(a, names, workloads))
            return next(filter(None, doubts), None)
        case "output", [_, _]:
            render(kind, arguments, ROOT / "README.md")
            return None
        case "claim", [which, counter]:
            return doubt_about_claims(which, counter)
    return "there is no such kind of evidence"


def doubt_about_row(a: str, b: str, workload: str) -> str | None:
    """Why a comparison shows nothing, if it does not."""
    row = pictures.newest_comparison(a, b, workload)
    if row is None:
        return f"{b} against {a} on {workload} is not recorded"
    return f"{b} against {a} on {workload} was rejected" if row.rejected else None


def doubt_about_claims(which: str, counter: str) -> str | None:
    """Why a step's claims on a counter show nothing, if they do not."""
    label = find(which).label
    found = [row for row in pictures.recorded_claims(label) if row.counter == counter]
    if not found:
        return f"{label} has no recorded claim about {counter}"
    return None if all(row.holds for row in found) else f"a claim about {counter} does not hold"
