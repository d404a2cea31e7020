"""A checkpoint in containers: the commands that `compose.yaml` runs. CHECKPOINT names which.

python -m stack.container secrets   create a password, and a certificate for nginx, once
python -m stack.container seed      create the checkpoint's database, once
python -m stack.container serve     become the service
python -m stack.container work      become its worker; wait if the checkpoint has none
python -m stack.container beat      fail unless a worker has sent a heartbeat
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
from stack.host import external_postgres
from stack.seed.data import COUNTS, Size
from stack.seed.load import fingerprint
from stack.servers.certificate import issue_certificate
from stack.servers.cluster import digest, run_script

BUILDING = "building"
HEARTBEAT = (
    "SELECT 1 FROM procrastinate_workers WHERE last_heartbeat > now() - interval '20 seconds'"
)

app = typer.Typer(add_completion=False)


def selected_checkpoint() -> Checkpoint:
    """The checkpoint that CHECKPOINT names; the last one if it is empty."""
    name = os.environ["CHECKPOINT"]
    return find(name) if name else checkpoints()[-1]


def selected_size() -> Size:
    """The dataset that SIZE names.

    Raises:
        StackError: there is no such dataset.
    """
    for known in COUNTS:
        if known == os.environ["SIZE"]:
            return known
    raise StackError(f"There is no size {os.environ['SIZE']!r}. Set SIZE to {' or '.join(COUNTS)}.")


def database_name(step: Checkpoint) -> str:
    """The step's database: its name has the step's number, and hashes of dataset and SQL."""
    own = digest(step.serve.scripts(step.directory))
    return f"surge_{step.number:02d}_{fingerprint(selected_size())}_{own}"


def database_url(database: str) -> str:
    """The URL of a database on the server of DATABASE_URL, with the password in PASSWORD_FILE."""
    server = urlsplit(os.environ["DATABASE_URL"])
    password = Path(os.environ["PASSWORD_FILE"]).read_text(encoding="ascii")
    netloc = server.netloc.replace("@", f":{password}@")
    return server._replace(netloc=netloc, path=f"/{database}").geturl()


def exec_module(step: Checkpoint, command: Sequence[str]) -> NoReturn:
    """Replace this process by a Python module, so that signals reach the module directly."""
    environment = {
        **step.serve.environment,
        **os.environ,
        "DATABASE_URL": database_url(database_name(step)),
        "CACHE_PREFIX": f"shop-{step.number:02d}",  # each step has a cache format of its own
    }
    os.chdir(step.directory)
    os.execve(sys.executable, [sys.executable, "-m", *command], environment)  # noqa: S606


@app.command()
def secrets(folder: Path) -> None:
    """Create the database's password, and in `folder` nginx's certificate, if they do not exist."""
    password = Path(os.environ["PASSWORD_FILE"])
    if not password.exists():
        password.write_text(token_hex(16), encoding="ascii")
    if not (folder / "certificate.pem").exists():
        issue_certificate(folder)


@app.command()
def seed() -> None:
    """Create the step's database as a copy of the dataset, which is built first if necessary."""
    step, server = selected_checkpoint(), database_url("postgres")
    name = database_name(step)
    with external_postgres.connect(server) as connection:
        if external_postgres.has_database(connection, name):
            return
    print(f"Making the data of {step.label}", flush=True)
    template = external_postgres.seed_template(server, selected_size(), lambda done, total: None)
    external_postgres.drop(server, BUILDING)  # in case an earlier attempt left one
    building = external_postgres.copy(server, template, BUILDING)
    for script in step.serve.scripts(step.directory):
        run_script(building, script)
    with external_postgres.connect(server) as connection:
        external_postgres.rename_database(connection, f"surge_{BUILDING}", name)


@app.command()
def serve() -> None:
    """Become the service; uvicorn listens on UVICORN_HOST and UVICORN_PORT."""
    step = selected_checkpoint()
    exec_module(step, step.serve.command)


@app.command()
def work() -> None:
    """Become the worker. Without one, wait: the same compose.yaml starts every step."""
    step = selected_checkpoint()
    if step.serve.worker:
        exec_module(step, step.serve.worker)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    print(f"{step.label} has no worker", flush=True)
    signal.pause()


@app.command()
def beat() -> None:
    """Fail unless a worker has sent a heartbeat in the last 20 seconds."""
    step = selected_checkpoint()
    if step.serve.worker:
        url = database_url(database_name(step))
        with psycopg.connect(url, connect_timeout=5) as connection:
            if not connection.execute(HEARTBEAT).fetchone():
                raise typer.Exit(1)


def main() -> None:
    """Run a command; an error that a reader can do something about is one line."""
    try:
        app()
    except StackError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
