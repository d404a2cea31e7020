"""A checkpoint as its `checkpoint.toml` describes it: all that anything else knows about it."""

import tomllib
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stack.errors import StackError
from stack.paths import CHECKPOINTS

Size = Literal["full", "tiny"]


class Part(BaseModel):
    """Base of every part of the file: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Serve(Part):
    """How the service is started, and what it needs."""

    command: list[str]
    services: list[Literal["postgres", "redis", "partners"]]
    sql: str | None = None
    environment: dict[str, str] = {}


class Claim(Part):
    """A statement that an exact counter proves or refutes."""

    name: str
    workload: str
    counter: str
    at_most: float | None = None
    at_least: float | None = None
    equals: float | None = None
    because: str
    requests: int = 100
    connections: int = 10
    partners: dict[str, float | bool] = {}
    max_connections: int = 100
    log: Literal["kept", "stalled"] = "kept"
    size: Size = "full"
    environment: dict[str, str] = {}

    @property
    def expected(self) -> str:
        """The bounds in words, such as `at most 8`."""
        bounds = {"at most": self.at_most, "at least": self.at_least, "exactly": self.equals}
        given = {word: bound for word, bound in bounds.items() if bound is not None}
        return ", ".join(f"{word} {bound:,g}" for word, bound in given.items())

    def holds(self, value: float) -> bool:
        """Whether a counted value lies within the bounds."""
        return (
            (self.at_most is None or value <= self.at_most)
            and (self.at_least is None or value >= self.at_least)
            and (self.equals is None or value == self.equals)
        )


class Prediction(Part):
    """A question the reader answers with a number before measuring."""

    question: str
    unit: str
    truth: str
    because: str


class Hint(Part):
    """One step of help; a checkpoint's hints are revealed one at a time."""

    text: str


class Checkpoint(Part):
    """One step of the climb."""

    number: int
    name: str
    title: str
    change: str
    touches: list[str]
    shows: list[str]
    serve: Serve
    claims: list[Claim] = Field(default=[], alias="claim")
    predictions: list[Prediction] = Field(default=[], alias="predict")
    hints: list[Hint] = Field(default=[], alias="hint")
    directory: Path

    @property
    def label(self) -> str:
        """Number and name, such as `05 async`."""
        return f"{self.number:02d} {self.name}"


def read(directory: Path) -> Checkpoint:
    """Read the `checkpoint.toml` in `directory`.

    Raises:
        StackError: the file is missing or not as it should be.
    """
    path = directory / "checkpoint.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        return Checkpoint(**values, directory=directory)
    except FileNotFoundError:
        raise StackError(f"{directory} has no checkpoint.toml. Name a checkpoint folder.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise StackError(f"{path} is not valid TOML: {error}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise StackError(f"{path}: {where}: {first['msg']}") from None


def checkpoints() -> list[Checkpoint]:
    """All checkpoints, in the order of the climb."""
    found = [read(path.parent) for path in CHECKPOINTS.glob("*/checkpoint.toml")]
    return sorted(found, key=lambda checkpoint: checkpoint.number)


def find(which: str) -> Checkpoint:
    """Find a checkpoint by number (`5`, `05`) or by name (`async`).

    Raises:
        StackError: there is no such checkpoint.
    """
    everything = checkpoints()
    for checkpoint in everything:
        if which == checkpoint.name or (which.isdecimal() and int(which) == checkpoint.number):
            return checkpoint
    labels = ", ".join(checkpoint.label for checkpoint in everything)
    raise StackError(f"There is no checkpoint {which!r}. Choose a number or a name: {labels}.")


def before(checkpoint: Checkpoint) -> Checkpoint | None:
    """The step just below, or None for the first."""
    lower = [other for other in checkpoints() if other.number < checkpoint.number]
    return lower[-1] if lower else None
