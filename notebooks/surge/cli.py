"""The `surge` command."""

import os
import signal
import sys
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import Annotated, Literal

import typer
from rich.console import Console

from stack.checkpoint import checkpoints, find
from stack.errors import StackError, remedy
from stack.paths import ROOT, STATE
from stack.seed.data import Size
from stack.system import System
from surge.book import diffs
from surge.climb import climb as climbing
from surge.crowd import runner as loads
from surge.exercise import check as exercise, predict as predictions, progress as progresses
from surge.load import workloads
from surge.measure import paired
from surge.present import tables
from surge.results.rows import Effort, record, rows
from surge.run import dataset, rolling_restart, trace_viewer

app = typer.Typer(
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    help="Carry one small shop from the version everybody writes first to one that holds a surge.",
)
console = Console()
errors = Console(stderr=True, highlight=False)

Journey = Literal[*loads.JOURNEYS]  # type: ignore[valid-type]
JOURNEYS = "What the shoppers do. " + "; ".join(
    f"{name}: {does}" for name, does in loads.JOURNEYS.items()
)
(FEW, SHORT), (MANY, LONG) = loads.default_size("browse"), loads.default_size("surge")
Which = Annotated[str, typer.Argument(metavar="NN", help="A checkpoint: 5, 05 or async.")]
Full = Annotated[bool, typer.Option("--full", help="Measure longer, for numbers to publish.")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document and nothing else.")]


@app.command()
def climb(
    to: Annotated[str, typer.Option(metavar="NN", help="Stop at this checkpoint.")] = "",
    full: Full = False,
) -> None:
    """Start every checkpoint, prove it, count its claims, measure it against the step before."""
    from surge.climb import report  # imported late: matplotlib takes a second to load

    last = find(to).number if to else sys.maxsize
    climbed = [step for step in checkpoints() if step.number <= last]
    for size in ("tiny", "full"):
        dataset.prepare(size, console)
    measured = climbing.climb(climbed, effort(full), console)
    console.print(tables.ladder(measured))
    page = report.write(measured, STATE / "report.html")
    console.print(f"The whole story, with every claim: {page}")
    raise typer.Exit(1 if climbing.failed(measured) else 0)


@app.command()
def up(
    which: Which,
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 picks a free one.")] = 0,
    directory: Annotated[
        Path | None, typer.Option("--dir", help="Serve the code in this folder instead.")
    ] = None,
    size: Annotated[Size, typer.Option(help="The dataset.")] = "full",
) -> None:
    """Serve one checkpoint, with its servers, until Ctrl-C."""
    step = find(which)
    code = exercise.require_directory(directory) if directory else None
    dataset.prepare(size, console)
    settings = trace_viewer.TRACE_EVERYTHING if "traces" in step.serve.services else {}
    with System(step, code, size=size, port=port, environment=settings) as system:
        print(f"ready {system.url}", flush=True)
        console.print(f"{step.label}. Try {system.url}/docs. Ctrl-C ends everything.")
        if system.proxy:
            console.print(
                f"The same with TLS: {system.proxy.tls_url}, by {system.proxy.authority}. "
                "In another terminal: surge roll",
                soft_wrap=True,  # a path that is cut in two cannot be copied
            )
        try:
            with trace_viewer.shown_traces(system, console):
                if system.proxy:
                    rolling_restart.serve_until_exit(system, console)
                else:
                    system.service.wait()
        except KeyboardInterrupt:  # no error: the system ends in order
            console.print("Ending. Requests under way are answered first.")
            raise typer.Exit from None
        output = system.service.output()[-500:]
        raise StackError(f"The service ended by itself. Its last words:\n{output}")


@app.command()
def roll() -> None:
    """Restart the instances of the `surge up` in another terminal, one by one."""
    if not rolling_restart.request_restarts():
        raise StackError("There is nothing to roll. Start it in another terminal: surge up 14")
    console.print("Asked. The terminal of `surge up` shows how it goes.")


@app.command()
def compare(
    a: Annotated[str, typer.Argument(help="A checkpoint: 4, 04 or pool.")],
    b: Annotated[str, typer.Argument(help="The one to compare it with.")],
    workload: Annotated[str, typer.Option(help="list, detail, cold, offers, orders, …")],
    full: Full = False,
    as_json: Json = False,
) -> None:
    """Compare two checkpoints on one workload; above 1 means B is better."""
    steps = find(a), find(b)
    workloads.workload(workload)
    quiet = errors if as_json else console
    dataset.prepare("full", quiet)
    with quiet.status(f"Measuring {workload}: fresh starts, alternating slices"):
        row = paired.compare(*steps, workload, effort(full))
    record(row)
    if as_json:
        print(row.model_dump_json(indent=2))
    else:
        console.print(tables.comparison(row))


@app.command()
def load(
    which: Which,
    journey: Annotated[Journey, typer.Option(help=JOURNEYS)] = "browse",
    users: Annotated[
        int | None,
        typer.Option(min=1, max=2000, help=f"Shoppers at once; {FEW}, in mid-surge {MANY}."),
    ] = None,
    time: Annotated[
        int | None, typer.Option(min=1, max=600, help=f"Seconds; {SHORT}, a whole surge {LONG}.")
    ] = None,
    ui: Annotated[bool, typer.Option("--ui", help="Serve Locust's own web page.")] = False,
) -> None:
    """Send a crowd of Locust shoppers to a checkpoint."""
    step = find(which)
    shoppers, seconds = loads.default_size(journey)
    shoppers, seconds = users or shoppers, time or seconds
    loads.validate(journey, shoppers, seconds)
    dataset.prepare("full", console)
    with System(step) as system:
        outcome = loads.run(system.url, journey, shoppers, seconds, ui, console)
    console.print(tables.crowd(outcome))
    if outcome.timeline:
        from surge.present import (  # late, as the report of a climb
            surge_figure,
            themes,
        )

        console.print(tables.surge(outcome.timeline))
        path = STATE / f"surge-{step.label.replace(' ', '-')}.png"
        STATE.mkdir(exist_ok=True)
        path.write_bytes(themes.png(surge_figure.surge({step.label: outcome.timeline})))
        console.print(f"The same, drawn: {path}")
    raise typer.Exit(1 if outcome.rejected else 0)


@app.command()
def diff(
    a: Which,
    b: Which,
    stat: Annotated[bool, typer.Option("--stat", help="One line per file.")] = False,
) -> None:
    """Show the lesson: what changed between two checkpoints."""
    diffs.render(find(a), find(b), stat, console)


@app.command()
def start(
    which: Which,
    fresh: Annotated[bool, typer.Option("--fresh", help="Set my attempt aside first.")] = False,
) -> None:
    """Copy the step below to work/NN, for you to change."""
    step = find(which)
    target = exercise.create_starter(step, fresh=fresh)
    console.print(f"Yours: {target.relative_to(ROOT)}. The task: {step.change}.")
    console.print(f"When you think it is done: surge check {step.number:02d}")


@app.command()
def check(
    which: Which,
    watch: Annotated[bool, typer.Option("--watch", help="Run again on every save.")] = False,
    reference: Annotated[bool, typer.Option("--reference", help="Check our version.")] = False,
    as_json: Json = False,
) -> None:
    """Prove your version: the contract, then the counter claims, up to the first failure."""
    if watch and as_json:
        raise typer.BadParameter("--watch shows every run; leave out --json.")
    step = find(which)
    directory = None if reference else exercise.require_directory(exercise.work_directory(step))
    quiet = errors if as_json else console
    for size in ("tiny", "full"):
        dataset.prepare(size, quiet)
    if watch:
        exercise.watch(step, directory or step.directory, console)
    passed = exercise.check(step, directory, console, as_json=as_json)
    raise typer.Exit(0 if passed else 1)


@app.command()
def hint(which: Which) -> None:
    """Reveal one more hint."""
    step = find(which)
    mine = progresses.load()
    text = exercise.next_hint(step, mine.step(step.name).hints)
    mine.step(step.name).hints += 1
    mine.save()
    console.print(f"Hint {mine.step(step.name).hints} of {len(step.hints)}: {text}")


@app.command()
def predict(which: Which) -> None:
    """Answer a step's questions with numbers, before you measure."""
    step = find(which)
    mine = progresses.load()
    measured = list(rows())
    for question in step.predictions:
        answer = typer.prompt(f"{question.question} [{question.unit}]", value_proc=parse_number)
        mine.step(step.name).predictions[question.truth] = answer
        mine.save()
        true = predictions.truth(step, question, measured)
        if true is None:
            console.print("Noted. Measure it, then ask again: surge climb --to " + str(step.number))
        else:
            console.print(
                f"Counted here: {true:g} {question.unit}. {predictions.score(answer, true)}."
            )
        console.print(f"Why: {question.because}", style="dim")


@app.command()
def sync(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail if stale.")] = False,
) -> None:
    """Bring the listings, tables and figures in the chapters up to date."""
    from surge.book import sync as syncing  # late, as the report of a climb

    stale = syncing.sync(check)
    for path in stale:
        console.print(f"{'stale' if check else 'updated'}: {path}")
    raise typer.Exit(1 if check and stale else 0)


@app.command()
def lab(which: Annotated[str, typer.Argument(metavar="[NN]")] = "") -> None:
    """Open JupyterLab, at a chapter's notebook."""
    target = ROOT / "notebooks"
    if which:
        name = "00_before_you_climb" if which in ("0", "00") else find(which).directory.name
        target /= f"{name}.ipynb"
    command = [sys.executable, "-m", "jupyter", "lab", "--ServerApp.ip=127.0.0.1", str(target)]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    os.execv(sys.executable, command)  # noqa: S606 - our own interpreter


def effort(full: bool) -> Effort:
    """The effort that `--full` asks for."""
    return "full" if full else "quick"


def parse_number(text: str) -> float:
    """The finite number in an answer.

    Raises:
        BadParameter: there is none.
    """
    with suppress(ValueError):
        if isfinite(value := float(text)):
            return value
    raise typer.BadParameter(f"{text!r} is not a number.")


def main() -> None:
    """Run the command; a reader's mistake ends in one or two lines and exit status 2."""
    # SIGTERM would end Python at once; a SystemExit stops our servers first, without waiting.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    # A service that cannot store its bytecode takes three times as long to start.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    try:
        app()
    except StackError as error:
        errors.print(str(error), style="red", markup=False)
        sys.exit(2)
    except OSError as error:
        if not (what_to_do := remedy(error)):
            raise
        errors.print(what_to_do, style="red", markup=False)
        sys.exit(2)
