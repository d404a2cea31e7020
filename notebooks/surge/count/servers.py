"""The servers that a checkpoint's claims are counted on, shared by as many runs as possible.

Copying the dataset and starting servers takes longer than most runs. A run is exact if the service
has just started, the data is unchanged, and the counters are at zero. So the service starts anew
for every run, while the servers beneath it stay. Only a run that writes gets servers of its own.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

from stack.checkpoint import Checkpoint, Claim
from stack.system import System
from surge.load.workloads import workload


class Servers:
    """The servers for the claims of one checkpoint; a context manager.

    Args:
        checkpoint: the one that makes the claims.
        directory: code to run in place of the checkpoint's.
    """

    def __init__(self, checkpoint: Checkpoint, directory: Path | None = None) -> None:
        self.checkpoint = checkpoint
        self.directory = directory
        self._shared: dict[str, System] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.__exit__(kind, error, traceback)

    @contextmanager
    def ready(self, claim: Claim, environment: Mapping[str, str]) -> Iterator[System]:
        """A system for one run of this claim, its service just started with this environment."""
        if workload(claim.workload).writes:
            with self._start(claim, environment) as system:
                yield system
            return
        shape = {"size", "max_connections", "partners", "instances", "worker"}
        key = claim.model_dump_json(include=shape)
        if key in self._shared:
            self._shared[key].restart_app(environment)
        else:
            self._shared[key] = self._stack.enter_context(self._start(claim, environment))
        yield self._shared[key]

    def _start(self, claim: Claim, environment: Mapping[str, str]) -> System:
        return System(
            self.checkpoint,
            self.directory,
            size=claim.size,
            environment=environment,
            max_connections=claim.max_connections,
            partners=claim.partners,
            instances=claim.instances,
            worker=claim.worker,
        )
