"""A fork server: Python services come from a process that has read their libraries already.

To read FastAPI, SQLAlchemy and the rest takes a second of CPU at each start. Where services start
by the hundred only to be counted or tested, that is half of all the work. What is measured, and
what `surge up` serves, starts as you would start it.

    python -m stack.processes.forkserver

takes a line of JSON for each service, forks, and says what becomes of the child: its process id,
and in the end its exit status. `stack.processes.forks` is the other end. Linux only: elsewhere
libraries do not survive a fork.
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
from typing import Any

LIBRARIES = (
    "aiohttp",
    "asyncpg",
    "email_validator",
    "fastapi",
    "fastapi_pagination.ext.sqlalchemy",
    "httptools",
    "opentelemetry.exporter.otlp.proto.http.trace_exporter",
    "procrastinate",
    "prometheus_client",
    "psycopg",
    "pydantic_settings",
    "redis.asyncio",
    "sqlalchemy.dialects.postgresql.asyncpg",
    "sqlalchemy.dialects.postgresql.psycopg",
    "sqlalchemy.ext.asyncio",
    "structlog",
    "uvicorn.main",
    "uvicorn.protocols.http.httptools_impl",
    "uvloop",
)
"""What the checkpoints import, as far as it takes time."""


def orders() -> dict[str, Any] | None:
    """Serve until nobody asks any more; returns None then, and in every child what it is to be."""
    woken, wake = os.pipe()
    os.set_blocking(wake, False)
    signal.signal(signal.SIGCHLD, lambda number, frame: None)
    signal.set_wakeup_fd(wake)
    names: dict[int, str] = {}
    asked = b""
    while True:
        ready, _, _ = select.select([0, woken], [], [])
        if woken in ready:
            os.read(woken, 4096)
            with suppress(ChildProcessError):
                while (ended := os.waitpid(-1, os.WNOHANG))[0]:
                    status = os.waitstatus_to_exitcode(ended[1])
                    say({"ended": names.pop(ended[0]), "status": status})
        if 0 in ready:
            read = os.read(0, 65536)  # past Python's buffer, which `select` does not see
            if not read:
                return None
            *lines, asked = (asked + read).split(b"\n")
            for line in lines:
                order: dict[str, Any] = json.loads(line)
                name = order.pop("name")
                pid = os.fork()
                if not pid:
                    signal.set_wakeup_fd(-1)
                    signal.signal(signal.SIGCHLD, signal.SIG_DFL)
                    os.close(woken)
                    os.close(wake)
                    return order
                names[pid] = name
                say({"started": name, "pid": pid})


def say(what: dict[str, str | int]) -> None:
    """Tell the owner; past Python's buffer, of which a child would have a copy."""
    os.write(1, json.dumps(what).encode() + b"\n")


def become(command: list[str], environment: dict[str, str], directory: str, log: str) -> None:
    """Turn this child into the service."""
    os.setsid()
    os.chdir(directory)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    nothing = os.open(os.devnull, os.O_RDONLY)
    for opened, number in ((nothing, 0), (out, 1), (out, 2)):
        os.dup2(opened, number)
    os.close(out)
    os.close(nothing)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv, sys.path[0] = command, directory
    runpy.run_module(command[0], run_name="__main__", alter_sys=True)


def main() -> None:
    """Read the libraries, then serve."""
    for library in LIBRARIES:
        import_module(library)
    # With several processes, uvicorn would start each as a Python that has read nothing.
    vars(import_module("uvicorn._subprocess"))["spawn"] = multiprocessing.get_context("fork")
    gc.collect()
    gc.freeze()  # what is here is the same for all children, and none should look through it
    if order := orders():
        become(**order)


if __name__ == "__main__":
    main()
