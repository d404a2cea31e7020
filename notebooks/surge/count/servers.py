"""The servers that a checkpoint's runs are counted on, started once for as many runs as can be.

Copying the dataset and starting servers takes longer than most runs. What makes a run exact is a
service that has just started, on data that nobody has changed, and counters at zero. So the service
starts anew for every run, while the servers beneath it stay; only a run that writes gets servers
that nobody else will see.
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
    """What the claims of one checkpoint are counted on; a context manager.

    Args:
        checkpoint: whose claims.
        directory: other code than the checkpoint's.
    """

    def __init__(self, checkpoint: Checkpoint, directory: Path | None = None) -> None:
        self.checkpoint = checkpoint
        self.directory = directory
        self._kept: dict[str, System] = {}
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
        about = {"size", "max_connections", "partners", "instances", "worker"}
        alike = claim.model_dump_json(include=about)
        if alike in self._kept:
            self._kept[alike].restart_app(environment)
        else:
            self._kept[alike] = self._stack.enter_context(self._start(claim, environment))
        yield self._kept[alike]

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
