"""Systems that stay up for the next user: in a dry run, starting them takes longer than the rest.

They go on running until the notebook's kernel ends. Data and caches are then as the previous user
left them.
"""

from threading import Lock
from typing import Any, ClassVar, Self

import psutil

from stack.errors import StackError
from stack.processes.reaper import is_alive
from stack.servers.cluster import digest
from stack.stubs.partners import PartnerSettings
from stack.system import System


class ReusedSystem(System):
    """A system that outlives its `with` block, for the next block that wants one like it.

    Who wants other code or other settings than the last one gets the same servers with another
    service. A system with `LOG_FILE` is not reused: that may be a pipe, whose reader waits for the
    service to end.
    """

    running: ClassVar[list[Self]] = []
    lock: ClassVar[Lock] = Lock()
    in_use = True
    lent: Self | None = None
    """The running system that this one's `with` block has got in its place."""

    def __enter__(self) -> Self:
        if "LOG_FILE" in self.environment:
            return super().__enter__()
        with self.lock:
            fit = [one for one in self.running if not one.in_use and one.has_servers_for(self)]
            fit.sort(key=lambda one: one.serves_already(self))
            self.lent = fit[-1] if fit else None
            if self.lent:
                self.lent.in_use = True
        if self.lent:
            self.lent.serve(self)
            return self.lent
        super().__enter__()
        self.began = self.pids()
        self.running.append(self)
        return self

    def __exit__(self, *error: Any) -> None:
        used = self.lent or self
        used.in_use = False
        if used not in self.running:
            super(ReusedSystem, used).__exit__(*error)

    def has_servers_for(self, other: System) -> bool:
        """Whether another system's servers would be the same, and these still run.

        A notebook may have killed one on purpose.
        """
        pids = [pid for tier in self.began.values() for pid in tier]
        return (
            _servers_of(self) == _servers_of(other)
            and self.pids() == self.began
            and all(psutil.pid_exists(pid) and is_alive(psutil.Process(pid)) for pid in pids)
        )

    def serves_already(self, other: System) -> bool:
        """Whether another system's service would be the same. An experiment's code changes."""
        own = self.checkpoint.directory
        return self.directory == other.directory == own and _service_of(self) == _service_of(other)

    def serve(self, other: System) -> None:
        """Serve what another system was to serve.

        Raises:
            StackError: the service does not come up.
        """
        self.partners = PartnerSettings().model_dump() | other.partners
        if self.serves_already(other):
            self.backing.reset_partners(self.partners)
            return
        self.checkpoint, self.directory = other.checkpoint, other.directory
        self.instances = other.instances
        for part, command in (
            (self.service, other.checkpoint.serve.command),
            (self.workers, other.checkpoint.serve.worker),
        ):
            part.command, part.directory = command, other.directory
        try:
            self.restart_app(other.environment)
        except StackError:
            self.running[:] = [one for one in self.running if one is not self]
            super().__exit__(None, None, None)
            raise
        self.began = self.pids()


def _servers_of(system: System) -> tuple[object, ...]:
    serve = system.checkpoint.serve
    scripts = digest(serve.scripts(system.directory))
    return system.checkpoint.number, serve.proxy, scripts, system.max_connections, system.worker


def _service_of(system: System) -> tuple[object, ...]:
    return system.checkpoint.label, system.instances, system.environment
