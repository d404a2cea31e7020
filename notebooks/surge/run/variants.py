"""Variants of a step: the same code served in another way, or its code with one thing changed."""

import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path

from stack.checkpoint import Checkpoint, find
from stack.errors import StackError
from surge.run import workspace


def variant(
    which: str,
    name: str,
    command: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    instances: int | None = None,
) -> Checkpoint:
    """A step with its own code, served in another way, to `measure` it or bring it `up`.

    Args:
        which: the step.
        name: stands in brackets behind its label; has no blanks.
        command: another server; `{port}` is filled in.
        environment: settings in place of, or besides, the step's own.
        instances: how many, in place of the step's own number.
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


def single_instance(step: Checkpoint) -> Checkpoint:
    """The same step with one instance and no proxy."""
    serve = step.serve.model_copy(update={"proxy": None, "instances": 1})
    return step.model_copy(update={"serve": serve})


def what_if(
    which: str, name: str, file: str, *changes: tuple[str, str], work: Path | None = None
) -> Path:
    """Copy a step to `work/NN-name` with some text of one file replaced; returns the folder.

    Args:
        which: the step.
        name: the name of the experiment.
        file: the path of the file in the step.
        changes: pairs of a text and its replacement.
        work: the folder that holds the experiments, if not the reader's own.

    Raises:
        StackError: the file does not have the text to be replaced.
    """
    step = find(which)
    target = (work or workspace.WORK) / f"{step.number:02d}-{name}"
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
    """The step with this number or name; a step itself is returned as it is."""
    return find(which) if isinstance(which, str) else which
