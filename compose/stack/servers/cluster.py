"""The seed cluster: the dataset as a PostgreSQL data directory.

It is built once per machine, and every run copies it.
"""

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
from stack.processes.reaper import RUN_VARIABLE
from stack.processes.run import Run
from stack.seed.data import Size
from stack.seed.load import fingerprint, load
from stack.servers.postgres import DATABASE, INSTRUMENTS, OWNER, start

Progress = Callable[[int, int], None]

# After the build only these two roles can connect, without a password and from this machine only.
# The superuser cannot connect at all, so another user of the machine cannot become you.
ACCESS = "".join(f"host {DATABASE} {role} 127.0.0.1/32 trust\n" for role in (OWNER, INSTRUMENTS))

# A cluster whose build crashed is thrown away, so loading does without durability and is faster.
LOADING = {
    "fsync": "off",
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_wal_size": "16MB",
}

NEEDED_BYTES = 1_500_000_000
MINIMUM_VERSION = 18


def seed_cluster(account: Account, size: Size, progress: Progress) -> Path:
    """The data directory of the seed cluster, which is built if this machine does not have it.

    Args:
        account: its owner.
        size: which dataset.
        progress: called with the rows loaded so far and their total.

    Raises:
        StackError: the disk is too full, or PostgreSQL too old.
    """
    name = f"{fingerprint(size)}-{_version(account.binaries)}"
    return _get_or_build(account, name, lambda run: _build(run, account, size, progress))


def cluster_with_scripts(account: Account, cluster: Path, scripts: Sequence[Path]) -> Path:
    """The data directory of a cluster on which scripts have run; built once as well.

    Args:
        account: its owner.
        cluster: the seed cluster.
        scripts: a checkpoint's SQL, above all its indexes.

    Raises:
        StackError: a script is wrong, or the disk is too full.
    """

    def build(run: Run) -> Path:
        data = run.directory / "data"
        account.run("cp", "-R", cluster, data, environment={RUN_VARIABLE: run.id})
        server = start(run, account, data, LOADING)
        try:
            for script in scripts:
                run_script(server.url, script)
        finally:
            server.stop()
        _discard_wal(account, data)
        return data

    return _get_or_build(account, path_with_scripts(cluster, scripts).name, build)


def path_with_scripts(cluster: Path, scripts: Sequence[Path]) -> Path:
    """Where `cluster_with_scripts` puts its result.

    Args:
        cluster: the seed cluster.
        scripts: SQL; only their content matters, not their paths.
    """
    return cluster.with_name(f"{cluster.name}-{digest(scripts)}")


def digest(scripts: Sequence[Path]) -> str:
    """A hash of the scripts' content."""
    text = b"".join(script.read_bytes() for script in scripts)
    return hashlib.sha256(text).hexdigest()[:8]


def run_script(url: str, script: Path) -> None:
    """Run a file of SQL statements.

    Raises:
        StackError: one of them is wrong; names the file and the reason.
    """
    with psycopg.connect(url, autocommit=True) as connection:
        try:
            connection.execute(script.read_bytes())
        except psycopg.Error as error:
            raise StackError(f"{script}: {error}") from None


def _get_or_build(account: Account, name: str, build: Callable[[Run], Path]) -> Path:
    """The cluster of this name; if there is none, `build` makes it in a run of its own."""
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
            if not cluster.exists():  # unless another run was quicker, the failure is real
                raise
    finally:
        run.close()
    return cluster


@cache  # it does not change, and each start of a system needs it
def _version(binaries: Path) -> str:
    command = [str(binaries / "postgres"), "--version"]
    output: str = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    version = output.split()[2]  # "postgres (PostgreSQL) 18.6 …"
    if int(version.partition(".")[0]) < MINIMUM_VERSION:
        raise StackError(
            f"The PostgreSQL on your PATH is {version}, and this book needs {MINIMUM_VERSION}. "
            "Unset SURGE_PREFER_SYSTEM to use the one that comes with it."
        )
    return version


def _build(run: Run, account: Account, size: Size, progress: Progress) -> Path:
    data = run.directory / "data"
    password = secrets.token_hex(16)
    password_file = run.directory / "password"
    password_file.write_text(password)
    account.take_ownership(password_file)
    account.run(
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
        _create_roles(admin.format(port=server.port), password)
        with psycopg.connect(server.url_for(OWNER, password)) as connection:
            load(connection, size, progress)
        _drop_default_databases(admin.format(port=server.port))
    finally:
        server.stop()
    _discard_wal(account, data)
    (data / "pg_hba.conf").write_text(ACCESS)
    return data


def _drop_default_databases(url: str) -> None:
    """Drop the databases that initdb creates: they are most of the files of a small cluster."""
    with psycopg.connect(url, dbname=DATABASE, autocommit=True) as connection:
        connection.execute("ALTER DATABASE template0 IS_TEMPLATE false")
        connection.execute("ALTER DATABASE template1 IS_TEMPLATE false")
        for name in ("template0", "template1", "postgres"):
            connection.execute(sql.SQL("DROP DATABASE {}").format(sql.Identifier(name)))


def _discard_wal(account: Account, data: Path) -> None:
    """Discard the write-ahead log: after a clean shutdown no server needs it."""
    account.run(account.binaries / "pg_resetwal", data)


def _create_roles(url: str, password: str) -> None:
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
