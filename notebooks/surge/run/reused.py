"""Systems that stay up for the next user: in a dry run, starting them takes longer than the rest.

A checkpoint's own code goes on running, for the next use with the same settings, until the
notebook's kernel ends. Data and caches are then as the previous user left them.
"""

from threading import Lock
from typing import Any, ClassVar, Self

import psutil

from stack.processes.reaper import is_alive
from stack.stubs.partners import PartnerSettings
from stack.system import System


class ReusedSystem(System):
    """A system that outlives its `with` block, for the next block that wants one with its settings.

    An experiment is not reused, and a system with `LOG_FILE` is not: that may be a pipe, whose
    reader waits for the service to end.
    """

    running: ClassVar[dict[str, Self]] = {}
    """By their settings."""
    lock: ClassVar[Lock] = Lock()
    in_use = False
    lent: Self | None = None
    """The running system that this one's `with` block has got in its place."""

    def __enter__(self) -> Self:
        if "LOG_FILE" in self.environment or self.directory != self.checkpoint.directory:
            return super().__enter__()
        key = repr((self.checkpoint.label, self.instances, self.max_connections, self.environment))
        with self.lock:
            found = self.running.get(key)
            if found and found.in_use:  # two of the same may be compared; each needs its own
                return super().__enter__()
            if found and found.is_intact():
                found.in_use = True
                self.lent = found
                found.backing.reset_partners(PartnerSettings().model_dump())
                return found
            self.in_use = True
            self.running[key] = self
        if found:
            found.__exit__(None, None, None)
        super().__enter__()
        self.began = self.pids()
        return self

    def __exit__(self, *error: Any) -> None:
        (self.lent or self).in_use = False
        if self not in self.running.values():
            super().__exit__(*error)

    def is_intact(self) -> bool:
        """Whether all its processes still run: a notebook may have killed one on purpose."""
        pids = [pid for tier in self.began.values() for pid in tier]
        return self.pids() == self.began and all(
            psutil.pid_exists(pid) and is_alive(psutil.Process(pid)) for pid in pids
        )
