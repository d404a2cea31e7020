"""Systems that stay up: for a glance, to start one takes longer than all the rest.

A checkpoint's own code goes on running for whoever wants it again with the same settings, until
the notebook's kernel ends. Data and caches are then as the one before has left them.
"""

from typing import Any, ClassVar, Self

import psutil

from stack.processes.reaper import is_alive
from stack.stubs.partners import PartnerSettings
from stack.system import System


class Kept(System):
    """A system that is still there when it is wanted again; what is an experiment is not.

    `LOG_FILE` makes it one: it may be a pipe, whose reader waits for the service to end.
    """

    kept: ClassVar[dict[str, Self]] = {}

    def __enter__(self) -> Self:
        if "LOG_FILE" in self.environment or self.directory != self.checkpoint.directory:
            return super().__enter__()
        what = self.checkpoint.label, self.instances, self.max_connections, self.environment
        alike = repr(what)
        found = self.kept.get(alike)
        if found and found.whole():
            found.backing.reset_partners(PartnerSettings().model_dump())
            return found
        if found:
            del self.kept[alike]
            found.__exit__(None, None, None)
        super().__enter__()
        self.began = self.pids()
        self.kept[alike] = self
        return self

    def __exit__(self, *error: Any) -> None:
        if self not in self.kept.values():
            super().__exit__(*error)

    def whole(self) -> bool:
        """Whether all that was started still runs: a notebook may end it, to see what happens."""
        pids = [pid for tier in self.began.values() for pid in tier]
        return self.pids() == self.began and all(
            psutil.pid_exists(pid) and is_alive(psutil.Process(pid)) for pid in pids
        )
