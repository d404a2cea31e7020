"""The reader's own progress, by checkpoint name, so that renumbering never strands it."""

from pydantic import BaseModel, ValidationError

from stack.errors import StackError
from stack.paths import STATE

FILE = STATE / "progress.json"


class Step(BaseModel):
    """How far the reader is with one checkpoint."""

    hints: int = 0
    predictions: dict[str, float] = {}
    """The question's truth, such as `offers.p99`, and the reader's answer."""


class Progress(BaseModel):
    """How far the reader is with all of them."""

    steps: dict[str, Step] = {}

    def step(self, name: str) -> Step:
        """The reader's step of this name; a new one when there is none yet."""
        return self.steps.setdefault(name, Step())

    def save(self) -> None:
        """Write the file whole or not at all."""
        FILE.parent.mkdir(exist_ok=True)
        scratch = FILE.with_suffix(".new")
        scratch.write_text(self.model_dump_json(indent=2))
        scratch.replace(FILE)


def load() -> Progress:
    """Read the progress; none yet is an empty one.

    Raises:
        StackError: the file is broken.
    """
    if not FILE.exists():
        return Progress()
    try:
        return Progress.model_validate_json(FILE.read_bytes())
    except ValidationError:
        raise StackError(f"{FILE} cannot be read. Move it away.") from None
