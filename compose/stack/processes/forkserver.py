"""A fork server: Python services are forked from a process that has imported their libraries.

To import FastAPI, SQLAlchemy and the rest takes a second of CPU at each start. Where services start
by the hundred only to be counted or tested, that is half of all the work. Services that are
measured, or served by `surge up`, start as you would start them.

    python -m stack.processes.forkserver

reads requests from standard input, one line of JSON for each service. For each it forks a child,
and writes to standard output first the child's process id, in the end its exit status.
`stack.processes.forks` is the client. Linux only: on other systems libraries do not survive a fork.
"""

import gc
import json
import multiprocessing
import os
import runpy
import select
import signal
import sys
from contextlib import suppress
from importlib import import_module
from typing import TypedDict

LIBRARIES = (
    "aiohttp",
    "asyncpg",
    "email_validator",
    "fastapi.middleware.gzip",
    "fastapi_pagination.cursor",
    "fastapi_pagination.customization",
    "fastapi_pagination.ext.sqlalchemy",
    "httptools",
    "httpx2",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "procrastinate",
    "prometheus_client",
    "psycopg",
    "pydantic_settings",
    "redis.asyncio",
    "requests",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.ext.asyncio",
    "structlog",
    "typer",
    "uvicorn.main",
    "uvicorn.protocols.http.httptools_impl",
    "uvicorn.protocols.websockets.auto",
    "uvloop",
)
"""The slow imports of the checkpoints."""


class Request(TypedDict):
    """A service to start: `python -m` of the command, with this environment and nothing else."""

    name: str
    command: list[str]
    environment: dict[str, str]
    directory: str
    log: str


class ForkServer:
    """Forks the requested services and reports when each has started and ended."""

    def __init__(self) -> None:
        self.names: dict[int, str] = {}
        self.unfinished = b""
        # A child's end interrupts `select`: Python writes a byte into the pipe for each signal.
        self.signals, self.wakeup = os.pipe()
        os.set_blocking(self.wakeup, False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        signal.set_wakeup_fd(self.wakeup)

    def serve(self) -> Request | None:
        """Serve until standard input ends; returns None then, and in each child its request."""
        while True:
            ready, _, _ = select.select([sys.stdin, self.signals], [], [])
            if self.signals in ready:
                os.read(self.signals, 4096)
                self.report_exits()
            if sys.stdin in ready:
                requests = self.read_requests()
                if requests is None:
                    return None
                for request in requests:
                    if self.fork(request) == 0:
                        return request

    def read_requests(self) -> list[Request] | None:
        """The requests that have arrived completely; None when there will be no more."""
        # Not by way of Python's buffer, of which `select` knows nothing.
        received = os.read(sys.stdin.fileno(), 65536)
        if not received:
            return None
        *lines, self.unfinished = (self.unfinished + received).split(b"\n")
        return [json.loads(line) for line in lines]

    def fork(self, request: Request) -> int:
        """Fork a child for a request; returns its process id, and 0 in the child."""
        pid = os.fork()
        if pid == 0:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.close(self.signals)
            os.close(self.wakeup)
        else:
            self.names[pid] = request["name"]
            report({"started": request["name"], "pid": pid})
        return pid

    def report_exits(self) -> None:
        """Wait for the children that have ended, and report their exit statuses."""
        while self.names:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if pid == 0:  # the others still run
                return
            report({"ended": self.names.pop(pid), "status": os.waitstatus_to_exitcode(status)})


def report(event: dict[str, str | int]) -> None:
    """Tell the client; not by way of Python's buffer, of which a child would have a copy."""
    os.write(1, json.dumps(event).encode() + b"\n")


def run_service(request: Request) -> None:
    """Turn this child into the service."""
    os.setsid()
    os.chdir(request["directory"])
    log = os.open(request["log"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    no_input = os.open(os.devnull, os.O_RDONLY)
    for opened, number in ((no_input, 0), (log, 1), (log, 2)):
        os.dup2(opened, number)
    os.close(log)
    os.close(no_input)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.argv, sys.path[0] = request["command"], request["directory"]
    if path := os.environ.get("PYTHONPATH"):  # as Python does at its start
        sys.path[1:1] = path.split(os.pathsep)
        sys.modules.pop("sitecustomize", None)
        with suppress(ModuleNotFoundError):
            import_module("sitecustomize")
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


def _route(parameter: str) -> None:
    """A route like any other."""


def main() -> None:
    """Import the libraries, then serve."""
    for library in LIBRARIES:
        import_module(library)
    import_module("fastapi").FastAPI().get("/")(_route)  # the first route imports pydantic.v1
    # uvicorn starts several worker processes by `spawn`: each would import everything again.
    vars(import_module("uvicorn._subprocess"))["spawn"] = multiprocessing.get_context("fork")
    gc.collect()
    gc.freeze()  # these objects are the children's too, and no child should collect among them
    if request := ForkServer().serve():
        run_service(request)


if __name__ == "__main__":
    main()
