"""A step in containers: what `compose.yaml` runs, for whichever step CHECKPOINT names.

python -m stack.container secrets   a password, and a certificate for nginx; made once
python -m stack.container seed      the step's database; made once
python -m stack.container serve     becomes the service
python -m stack.container work      becomes its worker, or waits where the step has none
python -m stack.container beat      fails unless a worker has given a sign of life
"""

import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from secrets import token_hex
from typing import NoReturn
from urllib.parse import urlsplit

import psycopg
import typer

from stack.checkpoint import Checkpoint, checkpoints, find
from stack.errors import StackError
from stack.host import attached
from stack.seed.data import COUNTS, Size
from stack.seed.load import fingerprint
from stack.servers.certificate import certify
from stack.servers.cluster import digest, run_script

BUILDING = "building"
BEAT = "SELECT 1 FROM procrastinate_workers WHERE last_heartbeat > now() - interval '20 seconds'"

app = typer.Typer(add_completion=False)


def chosen() -> Checkpoint:
    """The step that CHECKPOINT names; the last one if it is empty."""
    which = os.environ["CHECKPOINT"]
    return find(which) if which else checkpoints()[-1]


def size() -> Size:
    """Which dataset SIZE names.

    Raises:
        StackError: there is none of that name.
    """
    for known in COUNTS:
        if known == os.environ["SIZE"]:
            return known
    raise StackError(f"There is no size {os.environ['SIZE']!r}. Set SIZE to {' or '.join(COUNTS)}.")


def run_of(step: Checkpoint) -> str:
    """What tells the step's database from others: its number, the dataset and its own SQL."""
    own = digest(step.serve.scripts(step.directory))
    return f"{step.number:02d}_{fingerprint(size())}_{own}"


def url_of(database: str) -> str:
    """The URL of a database on the server of DATABASE_URL, with what PASSWORD_FILE says in it."""
    server = urlsplit(os.environ["DATABASE_URL"])
    password = Path(os.environ["PASSWORD_FILE"]).read_text(encoding="ascii")
    who = server.netloc.replace("@", f":{password}@")
    return server._replace(netloc=who, path=f"/{database}").geturl()


def become(step: Checkpoint, command: Sequence[str]) -> NoReturn:
    """Be this module instead: signals then reach it, and not somebody in between."""
    environment = {
        **step.serve.environment,
        **os.environ,
        "DATABASE_URL": url_of(f"surge_{run_of(step)}"),
        "CACHE_PREFIX": f"shop-{step.number:02d}",  # steps store different things
    }
    os.chdir(step.directory)
    os.execve(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606


@app.command()
def secrets(folder: Path) -> None:
    """Make the database's password, and in `folder` nginx's certificate, unless they are there."""
    password = Path(os.environ["PASSWORD_FILE"])
    if not password.exists():
        password.write_text(token_hex(16), encoding="ascii")
    if not (folder / "certificate.pem").exists():
        certify(folder)


@app.command()
def seed() -> None:
    """Make the step's database as a copy of the dataset, which is made first if need be."""
    step, server = chosen(), url_of("postgres")
    run = run_of(step)
    with attached.connect(server) as connection:
        if attached.has(connection, f"surge_{run}"):
            return
    print(f"Making the data of {step.label}", flush=True)
    template = attached.seed(server, size(), lambda done, total: None)
    attached.drop(server, BUILDING)  # what an earlier try has left
    building = attached.copy(server, template, BUILDING)
    for script in step.serve.scripts(step.directory):
        run_script(building, script)
    with attached.connect(server) as connection:
        attached.rename(connection, f"surge_{BUILDING}", f"surge_{run}")


@app.command()
def serve() -> None:
    """Become the service; uvicorn listens where UVICORN_HOST and UVICORN_PORT say."""
    step = chosen()
    become(step, step.serve.command)


@app.command()
def work() -> None:
    """Become the worker; where there is none, wait, so that one file starts every step."""
    step = chosen()
    if step.serve.worker:
        become(step, step.serve.worker)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"{step.label} has no worker", flush=True)
    signal.pause()


@app.command()
def beat() -> None:
    """Fail unless a worker has said lately that it lives."""
    step = chosen()
    if step.serve.worker:
        with psycopg.connect(url_of(f"surge_{run_of(step)}"), connect_timeout=5) as connection:
            if not connection.execute(BEAT).fetchone():
                raise typer.Exit(1)


def main() -> None:
    """Run a command; what went wrong is said in a line."""
    try:
        app()
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
