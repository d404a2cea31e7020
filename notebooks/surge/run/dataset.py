"""Builds a dataset, with a progress bar, if it is not on the machine yet."""

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from stack.seed.data import Size
from stack.servers.backing import prepare_dataset


def prepare(size: Size, console: Console) -> None:
    """Build the seed cluster of this size, unless it is there."""
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f}%"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    ) as progress:
        task = progress.add_task(f"Building the {size} dataset (once)", total=None, visible=False)

        def show(done: int, total: int) -> None:
            progress.update(task, completed=done, total=total, visible=True)

        prepare_dataset(size, show)
