"""A whole system: the servers a checkpoint needs and the checkpoint itself, up and ready."""

import http.client
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlencode

from stack import attached, postgres, valkey
from stack.account import Account, account
from stack.checkpoint import Checkpoint, Size
from stack.cluster import Progress, after, run_script, seed
from stack.errors import StackError
from stack.ports import free_port, is_free
from stack.postgres import RESERVED_CONNECTIONS
from stack.run import Child, Run


class System:
    """Brings a checkpoint up on a fresh copy of the dataset; a context manager.

    Args:
        checkpoint: which one.
        directory: serve the code in this folder instead of the checkpoint's own.
        size: which dataset.
        port: where the service listens; 0 for any free port.
        environment: added to what the service gets.
        max_connections: how many connections PostgreSQL accepts from the service; a server of
            your own (`SURGE_POSTGRES_URL`) keeps its own limit.
        partners: dials of the partner stub, such as `{"latency_ms": 5}`.

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
    ) -> None:
        self.checkpoint = checkpoint
        self.directory = directory or checkpoint.directory
        self.size: Size = size
        self.port = port
        self.environment = dict(environment or {})
        self.max_connections = max_connections
        self.partners = dict(partners or {})
        self.url = self.database_url = self.redis_url = self.partners_url = ""
        self._children: dict[str, Child] = {}
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        with self._stack:  # undone on failure only
            who = account()
            self.run = Run(who.home, who)
            self._stack.callback(self.run.close)
            services = self.checkpoint.serve.services
            if "partners" in services:
                self._start_partners()
            if "redis" in services:
                self._start_redis()
            if "postgres" in services:
                self._start_postgres(who)
            if "partners" in services:  # last: they come up while PostgreSQL does
                self._wait_for_partners()
            self._start_app()
            self._stack = self._stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    @property
    def run_dir(self) -> Path:
        """The run's folder: logs and data, removed at the end."""
        return self.run.directory

    def pids(self) -> dict[str, list[int]]:
        """The root processes of every tier; a tier's cost includes their children."""
        return {tier: [child.pid] for tier, child in self._children.items()}

    @property
    def log_file(self) -> Path:
        """Where the service writes a line for each request."""
        return self.run_dir / "requests.log"

    def log(self) -> bytes:
        """What is in that file; nothing when the service logs elsewhere."""
        return self.log_file.read_bytes() if self.log_file.exists() else b""

    def end_app(self) -> int:
        """Ask the service alone to end; returns its exit status, negative when it was killed."""
        app = self._children["app"]
        app.stop(signal.SIGTERM)
        return app.process.wait()

    def app_log(self) -> str:
        """What the service has printed so far."""
        return self._children["app"].log.read_text(errors="replace")

    def wait(self) -> None:
        """Wait until the service ends by itself."""
        self._children["app"].process.wait()

    def _start_partners(self) -> None:
        port = free_port()
        self.partners_url = f"http://127.0.0.1:{port}"
        dials = {f"PARTNERS_{name.upper()}": str(value) for name, value in self.partners.items()}
        command = ["uvicorn", "stack.partners:app", "--log-level", "warning"]
        child = self._python("partners", command, port, environment=dials)
        self._children["partners"] = child

    def _wait_for_partners(self) -> None:
        port = int(self.partners_url.rpartition(":")[2])
        self._children["partners"].wait_until(lambda: _status(port, "/stats") == 200)

    def _start_postgres(self, who: Account) -> None:
        data = prepare(self.size, lambda done, total: None)
        script = self.directory / (self.checkpoint.serve.sql or "")
        if url := os.environ.get(attached.VARIABLE):
            self.database_url = self.instruments_url = attached.copy(url, data, self.run.id)
        else:
            cluster = Path(data)
            if script.is_file() and self.directory == self.checkpoint.directory:
                cluster, script = after(who, cluster, script), Path()  # ours changes seldom
            copy = self.run_dir / "data"
            who.call("cp", "-R", cluster, copy)
            limit = str(self.max_connections + RESERVED_CONNECTIONS)
            server = postgres.start(self.run, who, copy, {"max_connections": limit})
            self._stack.callback(server.stop)
            self._children["database"] = server.child
            self.database_url = server.url
            self.instruments_url = server.url_for(postgres.INSTRUMENTS)
        if script.is_file():  # a reader who has not written it yet fails a claim, not here
            run_script(self.database_url, script)

    def _start_redis(self) -> None:
        if url := os.environ.get("SURGE_REDIS_URL"):
            if not valkey.answers(url):
                raise StackError(f"SURGE_REDIS_URL does not work: nobody answers at {url}.")
            self.redis_url = url
            return
        server = valkey.start(self.run)
        self._stack.callback(server.stop)
        self._children["cache"] = server.child
        self.redis_url = server.url

    def _start_app(self) -> None:
        if self.port and not is_free(self.port):
            raise StackError(
                f"Port {self.port} is in use. Choose another with --port, or leave it out."
            )
        port = self.port or free_port()
        self.url = f"http://127.0.0.1:{port}"
        environment = {
            "DATABASE_URL": self.database_url,
            "REDIS_URL": self.redis_url,
            "PARTNERS_URL": self.partners_url,
            "LOG_FILE": str(self.log_file),
            **self.checkpoint.serve.environment,
            **self.environment,
        }
        command = self.checkpoint.serve.command
        child = self._python("app", command, port, environment, self.directory)
        child.wait_until(lambda: _status(port, "/readyz") == 200)
        self._children["app"] = child

    def _python(
        self,
        name: str,
        command: list[str],
        port: int,
        environment: dict[str, str],
        directory: Path | None = None,
    ) -> Child:
        where = ["--host", "127.0.0.1", "--port", str(port)]
        child = self.run.start(
            name,
            [sys.executable, "-m", *command, *where],
            environment=environment,
            directory=directory,
        )
        self._stack.callback(child.stop, signal.SIGTERM)
        return child


def prepare(size: Size, progress: Progress) -> str:
    """Make sure the dataset is there; returns where: a data directory, or a template database.

    Args:
        size: which dataset.
        progress: called with rows loaded and rows in all, when it has to be built.
    """
    if url := os.environ.get(attached.VARIABLE):
        return attached.seed(url, size, progress)
    return str(seed(account(), size, progress))


def turn(partners_url: str, **dials: str | float | bool) -> None:
    """Turn the partner stub's dials while it runs; see `stack.partners`."""
    _status(int(partners_url.rpartition(":")[2]), f"/settings?{urlencode(dials)}", "PUT")


def _status(port: int, path: str, method: str = "GET") -> int:
    """The status of one request, or 0 when nobody listens yet."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request(method, path)
        return connection.getresponse().status
    except OSError:
        return 0
    finally:
        connection.close()
