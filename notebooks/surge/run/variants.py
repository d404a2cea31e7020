"""Variants of a step: its code with one thing changed, or the same code served in another way."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.checkpoint import Checkpoint, find
from stack.errors import StackError
from surge.run import workspace


def served(
    which: str,
    name: str,
    command: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    instances: int | None = None,
) -> Checkpoint:
    """Take a step as it is, but serve it in another way, to `measure` it or bring it `up`.

    Args:
        which: the step.
        name: what is said of it behind its label, without blanks.
        command: another server; `{port}` is filled in.
        environment: settings in place of, or besides, the step's own.
        instances: how many, if not as many as the step has.
    """
    step = find(which)
    serve = step.serve.model_copy(
        update={
            "command": list(command) or step.serve.command,
            "environment": {**step.serve.environment, **(environment or {})},
            "instances": instances or step.serve.instances,
        }
    )
    return step.model_copy(update={"name": f"{step.name} ({name})", "serve": serve})


def alone(step: Checkpoint) -> Checkpoint:
    """The same with one instance, and no proxy before it."""
    serve = step.serve.model_copy(update={"proxy": None, "instances": 1})
    return step.model_copy(update={"serve": serve})


def what_if(which: str, name: str, file: str, *changes: tuple[str, str]) -> Path:
    """Copy a step to `work/NN-name` with some text of one file replaced; gives the folder.

    Raises:
        StackError: the file does not have the text to be replaced.
    """
    step = find(which)
    target = workspace.WORK / f"{step.number:02d}-{name}"
    shutil.rmtree(target, ignore_errors=True)
    workspace.copy(step, target)
    changed = target / file
    text = changed.read_text(encoding="utf-8")
    for old, new in changes:
        if old not in text:
            raise StackError(f"{file} of {step.label} does not have {old!r}: mend the experiment.")
        text = text.replace(old, new)
    changed.write_text(text, encoding="utf-8")
    return target


def step_of(which: str | Checkpoint) -> Checkpoint:
    """A step by its number or name; one that is at hand already is that."""
    return find(which) if isinstance(which, str) else which
