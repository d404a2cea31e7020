"""What all sources of counters have in common."""

from dataclasses import dataclass
from types import TracebackType
from typing import Self

from stack.system import System
from surge.load.plan import Result

Counters = dict[str, float]


@dataclass(frozen=True)
class Load:
    """The load of a counted run, when it is over."""

    requests: int
    """How many the claim asks for."""
    result: Result


class Source:
    """Counts one kind of thing in a run; a context manager.

    It is entered when the service is ready, before the load. Then each source is asked twice: while
    the service is still up, and after it has ended.
    """

    def __init__(self, system: System) -> None:
        self.system = system

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None: ...

    def collect(self, load: Load) -> Counters:
        """The counters to be read while the service is still up."""
        return {}

    def collect_ended(self, load: Load, log: bytes) -> Counters:
        """The counters to be read after the service has ended; `log` is all that it wrote."""
        return {}
