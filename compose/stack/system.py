"""A whole system: the servers a checkpoint needs and the checkpoint itself, up and ready."""

import signal
import time
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

from stack.checkpoint import Checkpoint
from stack.errors import StackError
from stack.host.account import account
from stack.processes.ports import free_port, is_free
from stack.processes.run import Child, Run, end_all
from stack.seed.data import Size
from stack.servers.backing import Backing
from stack.servers.nginx import Nginx
from stack.stubs.client import configure_partners, fetch, port_of
from stack.workers import Workers


class System:
    """Brings a checkpoint up on a fresh copy of the dataset; a context manager.

    Args:
        checkpoint: which one.
        directory: serve the code in this folder instead of the checkpoint's own.
        size: which dataset.
        port: where the service listens, or its proxy; 0 for any free port.
        environment: added to what the service gets; what begins with NGINX_ is for its proxy.
        max_connections: how many connections PostgreSQL accepts from the service; a server of
            your own (`SURGE_POSTGRES_URL`) keeps its own limit.
        partners: settings of the partner stub, such as `{"latency_ms": 5}`.
        instances: how many times the service runs, if not as often as its checkpoint says.
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
        self.urls: list[str] = []
        self._apps: list[Child] = []
        self.workers: Workers
        self.proxy: Nginx | None = None
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        try:
            self._start()
        except BaseException:
            self._stack.close()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if isinstance(error, (KeyboardInterrupt, SystemExit)):  # nobody waits for an orderly end
            end_all()
        self._stack.close()

    @property
    def run_dir(self) -> Path:
        """The run's folder: logs and data, removed at the end."""
        return self.run.directory

    def pids(self) -> dict[str, list[int]]:
        """The root processes of every tier; a tier's cost includes their children."""
        servers = {tier: [child.pid] for tier, child in self.backing.children.items()}
        if self.proxy:
            servers["proxy"] = [self.proxy.child.pid]
        code = {"app": self._apps, "worker": self.workers.children}
        return servers | {tier: [child.pid for child in code[tier]] for tier in code if code[tier]}

    def processes(self) -> list[psutil.Process]:
        """All processes of the service, its workers not counted."""
        return [process for app in self._apps for process in app.tree()]

    @property
    def url(self) -> str:
        """Where the service is: its proxy, or else its first instance."""
        return self.doors[0]

    @property
    def doors(self) -> list[str]:
        """Where shoppers come in: the proxy alone if there is one, or else every instance."""
        return [f"http://127.0.0.1:{self.proxy.port}"] if self.proxy else self.urls

    @property
    def log_file(self) -> Path:
        """Where the service writes a line for each request; of several instances, the first."""
        return self._log_file(0)

    def log(self) -> bytes:
        """What the instances have written; nothing when the service logs elsewhere."""
        files = [self._log_file(number) for number in range(self.instances)]
        return b"".join(file.read_bytes() for file in files if file.exists())

    def end_app(self) -> int:
        """Ask the service alone to end; returns its exit status, negative when it was killed."""
        self._end_apps()
        return self._apps[0].process.wait()

    def end_instance(self, number: int, how: signal.Signals = signal.SIGTERM) -> None:
        """End one instance of the service, gracefully or by another signal."""
        self._apps[number].stop(how)

    def start_instance(self, number: int, *, rests: bool = True) -> None:
        """Start an instance that has ended again, where it was.

        Args:
            number: which.
            rests: wait until it has nothing to do; not where shoppers are waiting for it.
        """
        self._apps[number] = self._start_app(number)
        self._wait_for_app(number, rests)

    def roll(self) -> None:
        """Restart all instances, one after the other, while the others serve."""
        for number in range(self.instances):
            self.replace(number)

    def replace(self, number: int) -> None:
        """Restart one instance while nobody is sent to it."""
        assert self.proxy, "without a proxy there is nowhere else to send anybody"
        self.proxy.without(number)
        self.end_instance(number)
        self.start_instance(number)
        self.proxy.without(None)

    def restart_app(self, environment: Mapping[str, str]) -> None:
        """Start the service again; its log, the caches and the partners are as new.

        Args:
            environment: added to what the service gets, instead of what was given at first.

        Raises:
            StackError: it does not come up.
        """
        if self.proxy:
            self.proxy.stop()
        self.end_app()
        self.workers.end()
        for number in range(self.instances):
            self._log_file(number).unlink(missing_ok=True)
        self._apps.clear()
        self.urls.clear()
        self.environment = dict(environment)
        if "partners" in self.backing.children:
            self.backing.reset_partners(self.partners)
        if "traces" in self.backing.children:
            self.backing.reset_traces()
        if self.redis_url:
            self.backing.reset_redis()
            self.cache_prefix = self.backing.cache_prefix
        self._start_apps()
        if self.worker:
            self.workers.start()

    def app_log(self) -> str:
        """What the service has printed so far."""
        return "".join(app.log.read_text(errors="replace") for app in self._apps)

    def wait(self) -> None:
        """Wait until the service ends by itself, with its last instance."""
        while self.lives():
            time.sleep(0.2)

    def lives(self) -> bool:
        """Whether any instance still runs."""
        return any(app.process.poll() is None for app in self._apps)

    def _start(self) -> None:
        who = account()
        self.run = Run(who.home, who)
        self._stack.callback(self.run.close)
        self.backing = Backing(self.run, self._stack)
        services = self.checkpoint.serve.services
        if "partners" in services:
            self.backing.start_partners()
        if "traces" in services:
            self.backing.start_traces()
        if "redis" in services:
            self.backing.start_redis()
        if "postgres" in services:
            ours = self.directory == self.checkpoint.directory  # which changes seldom
            scripts = self.checkpoint.serve.scripts(self.directory)
            self.backing.start_postgres(self.size, scripts, ours, self.max_connections)
        self.backing.wait_for_stubs()  # last: they come up while PostgreSQL does
        if "partners" in services:
            configure_partners(self.backing.partners_url, **self.partners)
        self.database_url = self.backing.database_url
        self.instruments_url = self.backing.instruments_url
        self.redis_url, self.cache_prefix = self.backing.redis_url, self.backing.cache_prefix
        self.partners_url, self.traces_url = self.backing.partners_url, self.backing.traces_url
        self._start_apps()
        command = self.checkpoint.serve.worker
        self.workers = Workers(self.run, self._stack, command, self.directory, self._settings)
        if self.worker:
            self.workers.start()

    def _log_file(self, number: int) -> Path:
        return self.run_dir / f"requests-{number}.log"

    def _end_apps(self) -> None:
        """All at once: each takes its time."""
        for app in self._apps:
            app.ask_to_end(signal.SIGTERM)
        for app in self._apps:
            app.wait_for_end()

    def _start_apps(self) -> None:
        proxied = self.checkpoint.serve.proxy is not None
        self._stack.callback(self._end_apps)
        for number in range(self.instances):
            port = self.port + number if self.port and not proxied else 0
            self.urls.append(f"http://127.0.0.1:{_choose(port)}")
            self._apps.append(self._start_app(number))
        for number in range(self.instances):
            self._wait_for_app(number)
        if proxied:
            self._start_proxy()

    def _start_app(self, number: int) -> Child:
        environment = {"LOG_FILE": str(self._log_file(number)), **self._settings()}
        command, port = self.checkpoint.serve.command, port_of(self.urls[number])
        return self.run.serve(f"app-{number}", command, port, environment, self.directory)

    def _wait_for_app(self, number: int, rests: bool = True) -> None:
        port, app = port_of(self.urls[number]), self._apps[number]
        app.wait_until(lambda: fetch(port, "/readyz")[0] == 200)
        if rests:
            app.wait_until(app.rests)  # one of its processes is ready; now the others are, too

    def _start_proxy(self) -> None:
        ours = {
            name: value for name, value in self._settings().items() if name.startswith("NGINX_")
        }
        instances, port = [port_of(url) for url in self.urls], _choose(self.port)
        self.proxy = Nginx(self.run, instances, port, ours, self.directory)
        self._stack.callback(self.proxy.stop)
        self.proxy.child.wait_until(lambda: fetch(port, "/readyz")[0] == 200)

    def _settings(self) -> dict[str, str]:
        """What the service and its worker read from their environment."""
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


def _choose(port: int) -> int:
    if port and not is_free(port):
        raise StackError(f"Port {port} is in use. Choose another with --port, or leave it out.")
    return port or free_port()
