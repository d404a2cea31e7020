"""A whole system: the servers a checkpoint needs and the checkpoint itself, up and ready."""

from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

from stack.checkpoint import Checkpoint
from stack.errors import StackError
from stack.host.account import account
from stack.processes.ports import free_port, is_free
from stack.processes.run import Run, close_all
from stack.seed.data import Size
from stack.servers.backing import BackingServices
from stack.servers.nginx import Nginx
from stack.service import Service
from stack.stubs.client import configure_partners, fetch, port_of
from stack.workers import Workers


class System:
    """Brings a checkpoint up on a fresh copy of the dataset; a context manager.

    Args:
        checkpoint: which one.
        directory: serve the code in this folder instead of the checkpoint's own.
        size: which dataset.
        port: where the service listens, or its proxy; 0 for any free port.
        environment: added to the service's; names that begin with NGINX_ are for its proxy.
        max_connections: how many connections PostgreSQL accepts from the service; a server of
            your own (`SURGE_POSTGRES_URL`) keeps its own limit.
        partners: settings of the partner stub, such as `{"latency_ms": 5}`.
        instances: how many instances of the service, if not as many as its checkpoint says.
        worker: whether the worker runs that does its jobs, if it has one.

    Raises:
        StackError: on entry, when a server does not come up.
    """

    def __init__(
        self,
        checkpoint: Checkpoint,
        directory: Path | None = None,
        *,
        size: Size = "full",
        port: int = 0,
        environment: Mapping[str, str] | None = None,
        max_connections: int = 100,
        partners: Mapping[str, float | bool] | None = None,
        instances: int | None = None,
        worker: bool = True,
    ) -> None:
        self.checkpoint = checkpoint
        self.directory = directory or checkpoint.directory
        self.size: Size = size
        self.port = port
        self.environment = dict(environment or {})
        self.max_connections = max_connections
        self.partners = dict(partners or {})
        self.instances = instances or checkpoint.serve.instances
        self.worker = worker
        self.proxy: Nginx | None = None
        self._cleanup = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._cleanup.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):  # do not wait for an orderly end
            close_all()
        self._cleanup.close()

    @property
    def run_dir(self) -> Path:
        """The run's folder: logs and data, removed at the end."""
        return self.run.directory

    def pids(self) -> dict[str, list[int]]:
        """The root processes of every tier; a tier's cost includes their children.

        A process whose parent has ended is a root of its own, in the tier that it came from.
        """
        tiers = {tier: [child] for tier, child in self.backing.children.items()}
        if self.proxy:
            tiers["proxy"] = [self.proxy.child]
        for tier, children in (("app", self.service.children), ("worker", self.workers.children)):
            if children:
                tiers[tier] = children
        roots = {tier: [child.pid for child in children] for tier, children in tiers.items()}
        tier_of = {child.name: tier for tier, children in tiers.items() for child in children}
        known = [pid for pids in roots.values() for pid in pids]
        for name, pid in self.run.orphans(known):
            if name in tier_of:
                roots[tier_of[name]].append(pid)
        return roots

    @property
    def urls(self) -> list[str]:
        """The URLs of the instances."""
        return self.service.urls

    @property
    def public_urls(self) -> list[str]:
        """The URLs for clients: the proxy's alone if there is one, or else every instance's."""
        return [f"http://127.0.0.1:{self.proxy.port}"] if self.proxy else self.urls

    @property
    def url(self) -> str:
        """The URL for clients: the proxy's, or else the first instance's."""
        return self.public_urls[0]

    def rolling_restart(self) -> None:
        """Restart all instances, one after the other, while the others serve."""
        for number in range(self.instances):
            self.restart_instance(number)

    def restart_instance(self, number: int) -> None:
        """Restart one instance while the proxy sends its requests to the others."""
        assert self.proxy, "without a proxy, requests can only go to this instance"
        self.proxy.drain(number)
        self.service.stop(number)
        self.service.start(number)
        self.proxy.reload()

    def restart_app(self, environment: Mapping[str, str]) -> None:
        """Start the service again, with empty logs and caches; the partners are reset.

        Args:
            environment: added to the service's, instead of the one that was given at first.

        Raises:
            StackError: it does not come up.
        """
        if self.proxy:
            self.proxy.stop()
        self.service.reset()
        self.workers.stop()
        self.environment = dict(environment)
        if "partners" in self.backing.children:
            self.backing.reset_partners(self.partners)
        if "traces" in self.backing.children:
            self.backing.reset_traces()
        if self.redis_url:
            self.backing.reset_redis()
            self.cache_prefix = self.backing.cache_prefix
        self._start_service()
        if self.worker:
            self.workers.start()

    def _start(self) -> None:
        owner = account()
        self.run = Run(owner.home, owner)
        self._cleanup.callback(self.run.close)
        self._start_backing_services()
        command = self.checkpoint.serve.command
        self.service = Service(self.run, command, self.directory, self._app_environment)
        self._cleanup.callback(self.service.stop_all)
        self._start_service()
        command = self.checkpoint.serve.worker
        self.workers = Workers(
            self.run, self._cleanup, command, self.directory, self._app_environment
        )
        if self.worker:
            self.workers.start()

    def _start_backing_services(self) -> None:
        self.backing = backing = BackingServices(self.run, self._cleanup)
        services = self.checkpoint.serve.services
        if "partners" in services:
            backing.start_partners()
        if "traces" in services:
            backing.start_traces()
        if "redis" in services:
            backing.start_redis()
        if "postgres" in services:
            keep = self.directory == self.checkpoint.directory  # a reader's own code changes often
            scripts = self.checkpoint.serve.scripts(self.directory)
            backing.start_postgres(self.size, scripts, keep, self.max_connections)
        backing.wait_for_stubs()  # last: they come up while PostgreSQL does
        if "partners" in services:
            configure_partners(backing.partners_url, **self.partners)
        self.database_url, self.instruments_url = backing.database_url, backing.instruments_url
        self.redis_url, self.cache_prefix = backing.redis_url, backing.cache_prefix
        self.partners_url, self.traces_url = backing.partners_url, backing.traces_url

    def _start_service(self) -> None:
        proxied = self.checkpoint.serve.proxy is not None
        if self.port and not proxied:
            ports = [_choose_port(self.port + number) for number in range(self.instances)]
        else:
            ports = [free_port() for _ in range(self.instances)]
        self.service.start_all(ports)
        if proxied:
            self._start_proxy()

    def _start_proxy(self) -> None:
        settings = {
            name: value
            for name, value in self._app_environment().items()
            if name.startswith("NGINX_")
        }
        instances, port = [port_of(url) for url in self.urls], _choose_port(self.port)
        self.proxy = Nginx(self.run, instances, port, settings, self.directory)
        self._cleanup.callback(self.proxy.stop)
        self.proxy.child.wait_until(lambda: fetch(port, "/readyz")[0] == 200)

    def _app_environment(self) -> dict[str, str]:
        """The environment variables of the service and its worker."""
        exporter = {"OTEL_EXPORTER_OTLP_ENDPOINT": self.traces_url} if self.traces_url else {}
        return {
            **exporter,
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "CACHE_PREFIX": self.cache_prefix,
            "PARTNERS_URL": self.partners_url,
            "MAIL_URL": f"{self.partners_url}/mail",
            "INSTANCES": str(self.instances),
            **self.checkpoint.serve.environment,
            **self.environment,
        }


def _choose_port(port: int) -> int:
    """This port, if it is free; for 0, any free one."""
    if port and not is_free(port):
        raise StackError(f"Port {port} is in use. Choose another with --port, or leave it out.")
    return port or free_port()
