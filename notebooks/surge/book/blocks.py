"""What can stand in a generated block of a chapter.

    listing PATH[#NAME]        a file, or one function, class, method or variable of it; of a
                               .template, the lines around a directive
    diff A B FILE              what changed in one file between two checkpoints
    stat A B                   which files changed between two checkpoints, and by how much
    predict NN                 the questions of a checkpoint
    claims NN                  its claims, with what was counted
    comparison A B WORKLOAD    the verdict in a sentence, and the numbers behind it
    variants A B,… WORKLOAD,…  other ways to serve the same code, such as `granian`, a line for each
    figure A B WORKLOAD        every pair of the same, as a figure with its table
    ladder [WORKLOAD]          every step on one workload (hot), as a figure with its table
    ledger                     what the chapters say of the articles' advice

Where a block compares, B may be an experiment of A's notebook, such as `work/02-no-index`, or the
same code served in another way, such as `12/granian`.
Numbers come from the rows committed under `notebooks/results`, and from nowhere else.
"""

import json
import os
import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from stack.checkpoint import find
from stack.errors import StackError
from stack.paths import ROOT
from surge.book import diffs, pictures
from surge.book.ledger import ledger
from surge.book.listings import cut, fenced
from surge.book.pictures import Picture
from surge.measure import ladder as ladders
from surge.measure.verdict import cost, shop
from surge.results.rows import COMMITTED, Comparison, Sides, rows
from surge.results.wording import counted, number, ratio, sentence


def make(kind: str, arguments: Sequence[str], folder: Path) -> str:
    """Generate one block for a document in `folder`.

    Raises:
        StackError: the marker asks for something that is not there.
    """
    usage = next(line.split("  ")[2] for line in __doc__.splitlines() if f"  {kind} " in line)
    optional = usage.count(" [")
    if not 0 <= len(usage.split()) - 1 - len(arguments) <= optional:
        raise StackError(f"`{kind} {' '.join(arguments)}` should be `{usage}`.")
    return KINDS[kind](folder, *arguments)


def picture(kind: str, arguments: Sequence[str]) -> Picture | None:
    """The figure that a block shows, if it shows one and its rows are there."""
    match kind, arguments:
        case "figure", [a, b, workload]:
            return pictures.comparison(a, b, workload)
        case "ladder", _:
            return pictures.climb(*arguments)
    return None


def listing(folder: Path, source: str) -> str:
    """A listing, under the name of its file."""
    path, _, name = source.partition("#")
    what = f", `{name}`" if name else ""
    return f"[`{path}`]({relative(folder, ROOT / path)}){what}:\n\n{cut(path, name)}"


def diff(folder: Path, a: str, b: str, file: str) -> str:
    """The diff of one file."""
    old, new = find(a), find(b)
    text = diffs.unified(old, new, file)
    if not text:
        raise StackError(f"{file} is the same in {old.label} and {new.label}: no diff to show.")
    return fenced("diff", text)


def stat(folder: Path, a: str, b: str) -> str:
    """The files that changed."""
    lines = [
        [f"`{change.path}`", change.added, change.removed]
        for change in diffs.changes(find(a), find(b))
    ]
    return table(["file", "lines added", "lines removed"], lines)


def predict(folder: Path, which: str) -> str:
    """The questions, for the reader to answer first."""
    questions = [
        f"{number}. {asked.question} *({asked.unit})*"
        for number, asked in enumerate(find(which).predictions, 1)
    ]
    return "\n".join([*questions, "", f"Write your answers down: `surge predict {which}`."])


def claims(folder: Path, which: str) -> str:
    """Each claim, with what was last counted for it."""
    step = find(which)
    newest = ladders.claims(ladders.newest(list(rows(COMMITTED))))
    recorded = {
        (row.name, row.counter, row.expected): row for row in newest if row.checkpoint == step.label
    }
    lines = []
    for claim in step.claims:
        row = recorded.get((claim.name, claim.counter, claim.expected))
        found = [counted(row.value), "yes" if row.holds else "**no**"] if row else ["*not yet*", ""]
        name = f"[{claim.name}]({relative(folder, ROOT / claim.because)})"
        lines.append([name, f"`{claim.workload}`", f"`{claim.counter}`", claim.expected, *found])
    return table(["claim", "counted on", "counter", "claimed", "counted", "holds"], lines)


def comparison(folder: Path, a: str, b: str, workload: str) -> str:
    """The verdict in a sentence, the numbers, and how to get your own."""
    row = pictures.compared(a, b, workload)
    if row is None:
        return not_recorded(a, b, workload)
    made = f"{row.recorded_at:%-d %B %Y}, {row.machine.cpu}, {row.machine.cores} cores"
    note = f"Recorded {made}. Yours: {command(a, b, workload)}."
    return "\n\n".join([f"**{sentence(row)}.**", sides(row), note])


def variants(folder: Path, a: str, names: str, workloads: str) -> str:
    """A line for each way in which the notebook serves a step, A's own unless it says `NN/way`."""
    ways = [name if "/" in name else f"{a}/{name}" for name in names.split(",")]
    found = [
        pictures.compared(a, way, workload) for way in ways for workload in workloads.split(",")
    ]
    note = f"Yours: {command(a, ways[0], workloads)}."
    if None in found:
        return f"*Not recorded yet. {note}*"
    return f"{table_of_variants(row for row in found if row)}\n\n{note}"


def table_of_variants(found: Iterable[Comparison]) -> str:
    """What each gains and costs, one line for each B."""
    lines: dict[str, list[str]] = {}
    titles = [""]
    for row in found:
        line = lines.setdefault(row.b, [row.b])
        if len(lines) == 1:
            titles += [f"{row.workload}: requests a second", "CPU ms a request"]
        line.append(ratio(row.ratio.throughput, row.at_least) if row.ratio else "rejected")
        line.append(number(cost(row.tiers.b)))
    return table(titles, lines.values())


def figure(folder: Path, a: str, b: str, workload: str) -> str:
    """Every pair of a comparison."""
    found = pictures.comparison(a, b, workload)
    return shown(found, folder) if found else not_recorded(a, b, workload)


def ladder(folder: Path, *workload: str) -> str:
    """Every step on a workload."""
    found = pictures.climb(*workload)
    return (
        shown(found, folder) if found else "*Not recorded yet. Climb it yourself: `surge climb`.*"
    )


def shown(found: Picture, folder: Path) -> str:
    """A picture, and its data for those who cannot see it or want the numbers."""
    image = f"![{found.alt}]({relative(folder, found.path)})"
    data = table(found.data[0], found.data[1:])
    return f"{image}\n\n<details>\n<summary>The figure as a table</summary>\n\n{data}\n\n</details>"


def sides(row: Comparison) -> str:
    """Both sides of a comparison as a table."""
    of, tiers = row.ratio, row.tiers
    lines = [
        ["requests a second", *both(row.throughput), of and ratio(of.throughput, row.at_least)],
        ["99th percentile, ms", *both(row.p99_ms), of and ratio(of.p99)],
        ["CPU ms a request", *both(Sides(a=cost(tiers.a), b=cost(tiers.b))), of and ratio(of.cost)],
    ]
    for tier in shop(tiers.a | tiers.b):
        spent = [number(side[tier]) if tier in side else None for side in (tiers.a, tiers.b)]
        lines.append([f"of it {tier}", *spent, None])
    return table(["", row.a, row.b, "ratio (95 % interval)"], lines)


def both(values: Sides[float]) -> tuple[str, str]:
    """A quantity of both sides."""
    return number(values.a), number(values.b)


def not_recorded(a: str, b: str, workload: str) -> str:
    """What stands where a recorded number will be."""
    return f"*Not recorded yet. Measure it yourself: {command(a, b, workload)}.*"


def command(a: str, b: str, workload: str) -> str:
    """How to make a comparison; an experiment is made in the notebook that names it."""
    if "/" not in b:
        return f"`surge compare {a} {b} --workload {workload}`"
    if b.startswith("work/"):
        step, _, name = Path(b).name.partition("-")
        makes = re.compile(rf'what_if\(\s*"{step}",\s*"{re.escape(name)}"')
    else:
        makes = re.compile(rf'variant\(\s*"{b.partition("/")[0]}"')
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
        if any(makes.search("".join(cell["source"])) for cell in cells):
            return f"`surge lab {path.name[:2]}`"
    raise StackError(f"No notebook makes {b}. Is it misspelt?")


def table(titles: Sequence[str], lines: Iterable[Sequence[object]]) -> str:
    """A Markdown table; None is an empty cell."""
    return "\n".join(
        f"| {' | '.join('' if cell is None else str(cell) for cell in line)} |"
        for line in [titles, ["---"] * len(titles), *lines]
    )


def relative(folder: Path, target: Path) -> str:
    """The way from a document's folder to a file."""
    return os.path.relpath(target, folder)


KINDS: dict[str, Callable[..., str]] = {
    kind.__name__: kind
    for kind in (listing, diff, stat, predict, claims, comparison, variants, figure, ladder, ledger)
}
