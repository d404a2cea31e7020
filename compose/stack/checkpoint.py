"""A checkpoint, as its `checkpoint.toml` describes it. The tools know nothing else about it."""

import tomllib
from importlib.util import find_spec
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from stack.errors import StackError
from stack.paths import CHECKPOINTS
from stack.seed.data import Size


class Section(BaseModel):
    """Base of every section of the file: immutable, and a misspelt key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Serve(Section):
    """How the service is started, and what it needs.

    `{port}` in the command stands for the port; a command without it gets `--host` and `--port`.
    `sql` are scripts that run on the dataset first: paths in the checkpoint's folder, or in a
    package, written as `package:path`.
    """

    command: list[str]
    worker: list[str] = []
    services: list[Literal["postgres", "redis", "partners", "traces"]]
    sql: list[str] = []
    environment: dict[str, str] = {}
    instances: int = 1
    proxy: Literal["nginx"] | None = None

    def scripts(self, directory: Path) -> list[Path]:
        """The files of `sql` that exist; one that a reader has yet to write fails a claim later."""
        parts = [script.rpartition(":") for script in self.sql]
        paths = [
            (_package_directory(package) if package else directory) / path
            for package, _, path in parts
        ]
        return [path for path in paths if path.is_file()]


def _package_directory(name: str) -> Path:
    """The directory of a package, found without importing it."""
    spec = find_spec(name)
    assert spec
    assert spec.origin
    return Path(spec.origin).parent


class Claim(Section):
    """A statement that an exact counter proves or refutes.

    `surge.count.counters` has the counters, and says what `worker`, `burst`, `partners` and `log`
    do to a run.
    """

    name: str
    workload: str
    counter: str
    at_most: float | None = None
    at_least: float | None = None
    equals: float | None = None
    because: str
    """The heading that explains it: `chapters/05-async.md#heading`."""
    requests: int = 100
    connections: int = 10
    """How many clients send the requests."""
    burst: bool = False
    partners: dict[str, float | bool] = {}
    """Settings of the partner stub."""
    max_connections: int = 100
    """How many PostgreSQL allows."""
    instances: int | None = None
    """In place of the checkpoint's own number."""
    worker: bool = False
    log: Literal["kept", "stalled"] = "kept"
    size: Size = "full"
    environment: dict[str, str] = {}
    """Added to the service's."""

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


class Prediction(Section):
    """A question the reader answers with a number before measuring."""

    question: str
    unit: str
    truth: str
    """A claim's counter, or what a climb measures, such as `offers.ratio`."""
    because: str


class Hint(Section):
    """One piece of help; a checkpoint's hints are revealed one at a time."""

    text: str


class Checkpoint(Section):
    """One step of the climb.

    `patience` is added to the service's environment while claims are counted: time limits so long
    that other work on the machine changes no count.
    """

    number: int
    name: str
    title: str
    change: str
    touches: list[str]
    """The files that differ from the step below, in the order in which to read them."""
    shows: list[str]
    """The workloads on which a climb measures the step against the one below."""
    serve: Serve
    patience: dict[str, str] = {}
    claims: list[Claim] = Field(default=[], alias="claim")
    predictions: list[Prediction] = Field(default=[], alias="predict")
    hints: list[Hint] = Field(default=[], alias="hint")
    directory: Path

    @property
    def label(self) -> str:
        """Number and name, such as `05 async`."""
        return f"{self.number:02d} {self.name}"

    def with_own_claims(self) -> Self:
        """This checkpoint with only the claims that it introduces, not those of earlier steps."""
        chapter = f"chapters/{self.directory.name.replace('_', '-')}.md"
        own = [claim for claim in self.claims if claim.because.startswith(chapter)]
        return self.model_copy(update={"claims": own})


def read(directory: Path) -> Checkpoint:
    """Read the `checkpoint.toml` in `directory`.

    Raises:
        StackError: the file is missing or invalid.
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
    for path in CHECKPOINTS.glob("*/checkpoint.toml"):
        number, _, name = path.parent.name.partition("_")
        if which == name or (which.isdecimal() and int(which) == int(number)):
            return read(path.parent)  # the others need not be read
    labels = ", ".join(checkpoint.label for checkpoint in checkpoints())
    raise StackError(f"There is no checkpoint {which!r}. Choose a number or a name: {labels}.")


def previous(checkpoint: Checkpoint) -> Checkpoint | None:
    """The checkpoint before this one, or None for the first."""
    lower = [other for other in checkpoints() if other.number < checkpoint.number]
    return lower[-1] if lower else None
