"""The module that runs in the containers: makes the database and becomes what the step says."""

import os
import signal
import ssl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import psycopg
import pytest

from stack.checkpoint import checkpoints
from stack.host.external_postgres import with_database
from stack.processes.ports import free_port, is_free
from surge.machine.waiting import wait_until

LAST = checkpoints()[-1]


@pytest.fixture
def environment(tmp_path: Path, own_server: str) -> dict[str, str]:
    """What compose.yaml gives its containers, for a server that asks for no password."""
    (tmp_path / "password").write_text("anything")
    ours = {
        "CHECKPOINT": "",
        "SIZE": "tiny",
        "DATABASE_URL": own_server,
        "PASSWORD_FILE": str(tmp_path / "password"),
        "LOG_FILE": "/dev/stdout",
    }
    return {**os.environ, **ours}


def run(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "stack.container", *words]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False)


@contextmanager
def running(environment: dict[str, str], *words: str) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "stack.container", *words]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.PIPE)
    try:
        yield process
    finally:
        process.kill()
        process.communicate()


def ours(server: str) -> list[str]:
    with psycopg.connect(server) as connection:
        asked = "SELECT datname FROM pg_database WHERE datname LIKE 'surge%' ORDER BY 1"
        return [name for (name,) in connection.execute(asked)]


def test_the_secrets_are_made_once(tmp_path: Path) -> None:
    environment = {**os.environ, "PASSWORD_FILE": str(tmp_path / "password")}

    def made() -> dict[str, str]:
        assert run(environment, "secrets", str(tmp_path)).returncode == 0
        return {path.name: path.read_text() for path in tmp_path.iterdir()}

    first = made()
    assert first == made()
    assert set(first) == {"password", "authority.pem", "certificate.pem", "key.pem"}
    assert len(first["password"]) == 32
    ssl.create_default_context().load_cert_chain(tmp_path / "certificate.pem", tmp_path / "key.pem")


def test_a_step_gets_its_database_once(environment: dict[str, str], own_server: str) -> None:
    step = {**environment, "CHECKPOINT": "02"}
    assert run(step, "seed").stdout == "Making the data of 02 queries\n"
    database, template = ours(own_server)
    assert database.startswith("surge_02_") and template.startswith("surge_seed_")
    with psycopg.connect(with_database(own_server, database)) as connection:
        assert connection.execute("SELECT count(*) FROM products").fetchone() == (1000,)
        connection.execute("UPDATE products SET stock = 7 WHERE id = 1")
    assert run(step, "seed").stdout == ""
    with psycopg.connect(with_database(own_server, database)) as connection:
        asked = "SELECT stock FROM products WHERE id = 1"
        assert connection.execute(asked).fetchone() == (7,)
    assert run({**environment, "CHECKPOINT": "01"}, "seed").returncode == 0
    assert len(ours(own_server)) == 3  # another step, another database; the dataset is the same


def test_serve_becomes_the_service(environment: dict[str, str]) -> None:
    port = free_port()
    where = {"UVICORN_HOST": "127.0.0.1", "UVICORN_PORT": str(port)}
    step = {**environment, **where, "CHECKPOINT": "01"}
    assert run(step, "seed").returncode == 0
    with running(step, "serve") as process:
        wait_until(lambda: not is_free(port), "the service")
        assert httpx2.get(f"http://127.0.0.1:{port}/products/1").json()["id"] == 1
        process.terminate()  # which reaches the service directly
        assert process.stdout
        assert b"GET /products/1 200" in process.stdout.read()
        assert process.wait(10) in (0, -signal.SIGTERM)


def test_beat_succeeds_only_with_a_live_worker(environment: dict[str, str]) -> None:
    assert LAST.serve.worker
    assert run(environment, "seed").returncode == 0
    assert run(environment, "beat").returncode == 1
    with running(environment, "work"):
        wait_until(lambda: run(environment, "beat").returncode == 0, "a worker")


def test_work_waits_for_a_signal_in_a_step_without_worker(
    environment: dict[str, str],
) -> None:
    step = {**environment, "CHECKPOINT": "05"}
    assert run(step, "beat").returncode == 0
    with running(step, "work") as process:
        assert process.stdout
        assert process.stdout.readline() == b"05 async has no worker\n"
        process.terminate()
        assert process.wait(10) == 0


@pytest.mark.parametrize(
    ("variable", "wrong", "cure"),
    [
        ("CHECKPOINT", "77", "There is no checkpoint '77'. Choose a number or a name: 01 naive"),
        ("SIZE", "huge", "There is no size 'huge'. Set SIZE to full or tiny.\n"),
    ],
)
def test_wrong_setting_is_one_line(
    environment: dict[str, str], variable: str, wrong: str, cure: str
) -> None:
    said = run({**environment, variable: wrong}, "seed")
    assert said.returncode == 1
    assert said.stderr.startswith(cure)
    assert said.stderr.count("\n") == 1
