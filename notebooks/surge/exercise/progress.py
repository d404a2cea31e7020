"""The reader's progress, stored by the names of the checkpoints, which outlive their numbers."""

from pydantic import BaseModel, ValidationError

from stack.errors import StackError
from stack.paths import STATE

FILE = STATE / "progress.json"


class StepProgress(BaseModel):
    """The reader's progress with one checkpoint."""

    hints: int = 0
    predictions: dict[str, float] = {}
    """The reader's answers by the `truth` of their question, such as `offers.p99`."""


class Progress(BaseModel):
    """The reader's progress with all checkpoints."""

    steps: dict[str, StepProgress] = {}

    def step(self, name: str) -> StepProgress:
        """The progress with a step; a new one when there is none yet."""
        return self.steps.setdefault(name, StepProgress())

    def save(self) -> None:
        """Replace the file atomically."""
        FILE.parent.mkdir(exist_ok=True)
        scratch = FILE.with_suffix(".new")
        scratch.write_text(self.model_dump_json(indent=2))
        scratch.replace(FILE)


def load() -> Progress:
    """Read the progress; empty when there is no file yet.

    Raises:
        StackError: the file is broken.
    """
    if not FILE.exists():
        return Progress()
    try:
        return Progress.model_validate_json(FILE.read_bytes())
    except ValidationError:
        raise StackError(f"{FILE} cannot be read. Move it away.") from None
