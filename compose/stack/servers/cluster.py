"""The seed cluster: the dataset, built once per machine; every run copies it."""

import hashlib
import secrets
import shutil
import subprocess
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import psycopg
from psycopg import sql

from stack.errors import StackError
from stack.host.account import Account
from stack.processes.keeper import MARK
from stack.processes.run import Run
from stack.seed.data import Size
from stack.seed.load import fingerprint, load
from stack.servers.postgres import DATABASE, INSTRUMENTS, OWNER, start

Progress = Callable[[int, int], None]

# After the build only these two roles get in, without a password and from this machine alone;
# the superuser does not get in at all, so a neighbour on the machine cannot become you.
ACCESS = "".join(f"host {DATABASE} {role} 127.0.0.1/32 trust\n" for role in (OWNER, INSTRUMENTS))

# Loading rebuilds nothing after a crash (a half-built cluster is thrown away), so it may be fast.
LOADING = {
    "fsync": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "16MB",
}

NEEDED_BYTES = 1_500_000_000
LEAST_VERSION = 18


def seed(account: Account, size: Size, progress: Progress) -> Path:
    """The data directory of the seed cluster, built if this machine does not have it.

    Args:
        account: who owns it.
        size: which dataset.
        progress: called with rows loaded and rows in all.

    Raises:
        StackError: the disk is too full, or PostgreSQL too old.
    """
    name = f"{fingerprint(size)}-{_version(account.binaries)}"
    return _kept(account, name, lambda run: _build(run, account, size, progress))


def after(account: Account, cluster: Path, scripts: Sequence[Path]) -> Path:
    """The data directory of a cluster on which scripts have run, made once as well.

    Args:
        account: who owns it.
        cluster: where the scripts ran on: what `seed` gave.
        scripts: SQL of a checkpoint, its indexes above all.

    Raises:
        StackError: a script is wrong, or the disk is too full.
    """

    def build(run: Run) -> Path:
        data = run.directory / "data"
        account.call("cp", "-R", cluster, data, environment={MARK: run.id})
        server = start(run, account, data, LOADING)
        try:
            for script in scripts:
                run_script(server.url, script)
        finally:
            server.stop()
        _forget_log(account, data)
        return data

    return _kept(account, outcome(cluster, scripts).name, build)


def outcome(cluster: Path, scripts: Sequence[Path]) -> Path:
    """Where a cluster is kept on which these scripts have run, whoever wrote them.

    Args:
        cluster: where they ran on: what `seed` gave.
        scripts: SQL; what counts is what they say, not where they are.
    """
    return cluster.with_name(f"{cluster.name}-{digest(scripts)}")


def digest(scripts: Sequence[Path]) -> str:
    """What tells these scripts from others."""
    text = b"".join(script.read_bytes() for script in scripts)
    return hashlib.sha256(text).hexdigest()[:8]


def run_script(url: str, script: Path) -> None:
    """Run a file of SQL statements.

    Raises:
        StackError: one of them is wrong; says which file and why.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(script.read_bytes())
        except psycopg.Error as error:
            raise StackError(f"{script}: {error}") from None


def _kept(account: Account, name: str, build: Callable[[Run], Path]) -> Path:
    """A cluster of this name: the one that is there, or else what `build` makes in a run."""
    cluster = account.home / "seed" / name
    if cluster.exists():
        return cluster
    cluster.parent.mkdir(parents=True, exist_ok=True)
    if (free := shutil.disk_usage(account.home).free) < NEEDED_BYTES:
        raise StackError(
            f"{account.home} has {free / 1e9:.1f} GB free; building the dataset needs "
            f"{NEEDED_BYTES / 1e9:.1f} GB. Make room and try again."
        )
    run = Run(account.home, account)
    try:
        data = build(run)
        try:
            data.rename(cluster)
        except OSError:
            if not cluster.exists():  # another run was not quicker: a real failure
                raise
    finally:
        run.close()
    return cluster


@cache  # as often as systems start, it is the same
def _version(binaries: Path) -> str:
    command = [str(binaries / "postgres"), "--version"]
    said: str = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    version = said.split()[2]  # "postgres (PostgreSQL) 18.6 …"
    if int(version.partition(".")[0]) < LEAST_VERSION:
        raise StackError(
            f"The PostgreSQL on your PATH is {version}, and this book needs {LEAST_VERSION}. "
            "Unset SURGE_PREFER_SYSTEM to use the one that comes with it."
        )
    return version


def _build(run: Run, account: Account, size: Size, progress: Progress) -> Path:
    data = run.directory / "data"
    password = secrets.token_hex(16)
    password_file = run.directory / "password"
    password_file.write_text(password)
    account.own(password_file)
    account.call(
        account.binaries / "initdb",
        f"--pgdata={data}",
        "--username=postgres",
        "--auth=scram-sha-256",
        f"--pwfile={password_file}",
        "--encoding=UTF8",
        "--locale=C",
        "--wal-segsize=1",
        "--no-sync",
        "--no-instructions",
    )
    admin = f"postgresql://postgres:{password}@127.0.0.1:{{port}}/postgres"
    server = start(run, account, data, LOADING, url=admin)
    try:
        _roles(admin.format(port=server.port), password)
        with psycopg.connect(server.url_for(OWNER, password)) as connection:
            load(connection, size, progress)
        _only_ours(admin.format(port=server.port))
    finally:
        server.stop()
    _forget_log(account, data)
    (data / "pg_hba.conf").write_text(ACCESS)
    return data


def _only_ours(url: str) -> None:
    """Drop the databases that PostgreSQL makes for itself: most of the files of a small cluster."""
    with psycopg.connect(url, dbname=DATABASE, autocommit=True) as connection:
        connection.execute("ALTER DATABASE template0 IS_TEMPLATE false")
        connection.execute("ALTER DATABASE template1 IS_TEMPLATE false")
        for name in ("template0", "template1", "postgres"):
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def _forget_log(account: Account, data: Path) -> None:
    """Leave nothing of the write-ahead log, which a server that has stopped needs no more."""
    account.call(account.binaries / "pg_resetwal", data)


def _roles(url: str, password: str) -> None:
    database, owner, reader = map(sql.Identifier, (DATABASE, OWNER, INSTRUMENTS))
    with psycopg.connect(url, autocommit=True) as connection:
        for role in (owner, reader):
            connection.execute(
                sql.SQL("CREATE ROLE {} LOGIN PASSWORD {}").format(role, sql.Literal(password))
            )
        connection.execute(sql.SQL("CREATE DATABASE {} OWNER {}").format(database, owner))
        connection.execute(
            sql.SQL("GRANT pg_monitor, pg_use_reserved_connections TO {}").format(reader)
        )
    with psycopg.connect(url, dbname=DATABASE, autocommit=True) as connection:
        connection.execute("CREATE EXTENSION pg_stat_statements")
        for function in ("pg_stat_statements_reset(oid, oid, bigint, boolean)", "pg_stat_reset()"):
            connection.execute(
                sql.SQL("GRANT EXECUTE ON FUNCTION {} TO {}").format(sql.SQL(function), reader)
            )
