"""The reader's turn: a starter to change, a check that teaches, and hints one at a time."""

import json
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import chain
from pathlib import Path

import watchfiles
from rich.console import Console
from rich.markup import escape

from stack.checkpoint import Checkpoint, previous
from stack.errors import StackError
from surge.count import counters
from surge.exercise import contract
from surge.results.wording import counted
from surge.run import workspace

CONTRACT_CHAPTER = "chapters/00-before-you-climb.md#one-contract-for-all"


def folder(checkpoint: Checkpoint) -> Path:
    """Where the reader works on a checkpoint."""
    return workspace.WORK / f"{checkpoint.number:02d}"


def existing(directory: Path) -> Path:
    """The folder, if it is there.

    Raises:
        StackError: it is not.
    """
    if not directory.is_dir():
        raise StackError(f"There is no folder {directory}. Make it with `surge start NN`.")
    return directory.resolve()


def start(checkpoint: Checkpoint, *, fresh: bool) -> Path:
    """Copy the step below to the reader's folder.

    Raises:
        StackError: the folder exists and `fresh` is not asked for, or there is no step below.
    """
    below = previous(checkpoint)
    if below is None:
        raise StackError(
            f"{checkpoint.label} is where the climb begins: there is no step below to start from. "
            "Try `surge start 02`."
        )
    target = folder(checkpoint)
    if target.exists():
        if not fresh:
            raise StackError(
                f"{target} exists. Keep working there, or add --fresh to set it aside and begin "
                "again."
            )
        target.rename(target.with_name(f"{target.name}-{time.strftime('%Y%m%d-%H%M%S')}"))
    target.parent.mkdir(exist_ok=True)
    workspace.copy(below, target)
    return target


@dataclass(frozen=True)
class Finding:
    """One thing a check looked at. `lesson` is where the chapter explains it."""

    name: str
    ok: bool
    expected: str
    found: str
    lesson: str


def check(checkpoint: Checkpoint, directory: Path | None) -> Iterator[Finding]:
    """Prove the contract, then count the claims in order; ends after the first failure.

    Args:
        checkpoint: whose claims.
        directory: the reader's code; None checks the checkpoint itself.
    """
    proof = contract.prove(checkpoint, directory, stop_at_first=True)
    for failure in proof.failures:
        yield Finding(
            failure.test, False, "the contract's answer", failure.message, CONTRACT_CHAPTER
        )
        return
    yield Finding("the contract", True, "every promise kept", f"{proof.row.passed} kept", "")
    for row in counters.claims(checkpoint, directory):
        found = f"{row.counter} = {counted(row.value)}"
        yield Finding(row.name, row.holds, f"{row.counter} {row.expected}", found, row.because)
        if not row.holds:
            return


def report(checkpoint: Checkpoint, directory: Path | None, console: Console, as_json: bool) -> bool:
    """Run a check and show every finding as it comes; returns whether all went well."""
    findings = []
    for finding in check(checkpoint, directory):
        findings.append(finding)
        if not as_json:
            show(finding, console)
    passed = all(finding.ok for finding in findings)
    if as_json:
        document = {"passed": passed, "findings": [asdict(finding) for finding in findings]}
        print(json.dumps(document, indent=2))
    elif passed:
        console.print(f"[green]{checkpoint.label} holds.[/] See what it bought: surge climb")
    return passed


def show(finding: Finding, console: Console) -> None:
    """One finding on the screen; a failure says what was expected, what came, and where to read."""
    if finding.ok:
        console.print(f"[green]✓[/] {escape(finding.name)} [dim]({escape(finding.found)})[/]")
        return
    console.print(f"[red]✗[/] [bold]{escape(finding.name)}[/]")
    console.print(f"  expected: {escape(finding.expected)}")
    console.print(f"  found:    {escape(finding.found)}")
    console.print(f"  read:     {finding.lesson}")


def watch(checkpoint: Checkpoint, directory: Path, console: Console) -> None:
    """Check again on every save, until Ctrl-C."""
    ours = watchfiles.PythonFilter(extra_extensions=[".sql", ".toml", ".template"])
    saves = watchfiles.watch(directory, watch_filter=ours, rust_timeout=100, yield_on_timeout=True)
    next(saves)  # it watches from here on: what is saved during the first check is not lost
    for saved in chain([None], filter(None, saves)):
        if saved:
            console.rule(time.strftime("%H:%M:%S"))
        try:
            report(checkpoint, directory, console, as_json=False)
        except StackError as error:  # half-saved code need not end the watch
            console.print(str(error), style="red", markup=False)


def next_hint(checkpoint: Checkpoint, revealed: int) -> str:
    """The hint after the `revealed` ones.

    Raises:
        StackError: there are no more.
    """
    if revealed >= len(checkpoint.hints):
        raise StackError(
            f"That was the last hint for {checkpoint.label}. See how we did it: "
            f"surge diff {checkpoint.number - 1:02d} {checkpoint.number:02d}"
        )
    return checkpoint.hints[revealed].text
