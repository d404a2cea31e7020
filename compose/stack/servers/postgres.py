"""PostgreSQL as a child process of a run."""

import signal
from pathlib import Path

import psycopg

from stack.host.account import Account
from stack.processes.ports import free_port
from stack.processes.run import Child, Run

DATABASE = "surge"
OWNER = "surge"  # the service's role: owns the tables, but is no superuser
INSTRUMENTS = "instruments"  # the counters' role: reads statistics, and is not counted itself

RESERVED_CONNECTIONS = 3

SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "shared_preload_libraries": "pg_stat_statements",
    "pg_stat_statements.track_utility": "off",
    "shared_buffers": "256MB",
    "max_wal_size": "1GB",  # the default; initdb lowers it when segments are small
    # The counters must be able to connect even if the service has used up all connections.
    "superuser_reserved_connections": "0",
    "reserved_connections": str(RESERVED_CONNECTIONS),
}


class Postgres:
    """A running server on a data directory of its own."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port

    @property
    def url(self) -> str:
        """The service's URL."""
        return self.url_for(OWNER)

    def url_for(self, role: str, password: str = "") -> str:
        """The URL for a role of the database."""
        secret = f":{password}" if password else ""
        return f"postgresql://{role}{secret}@127.0.0.1:{self.port}/{DATABASE}"

    def stop(self) -> None:
        """Fast shutdown: clients are disconnected, the data is left clean."""
        self.child.stop(signal.SIGINT)


def start(
    run: Run,
    account: Account,
    data: Path,
    settings: dict[str, str],
    url: str | None = None,
    port: int = 0,
) -> Postgres:
    """Start a server on `data` and wait until it answers a query.

    Args:
        run: the run it belongs to.
        account: the account that runs it.
        data: its data directory.
        settings: override or add to `SETTINGS`.
        url: connect with this URL (`{port}` is filled in) instead of the service's.
        port: where it listens; 0 for any free port.
    """
    port = port or free_port()
    command = [str(account.binaries / "postgres"), "-D", str(data), "-p", str(port)]
    for name, value in {**SETTINGS, **settings}.items():
        command += ["-c", f"{name}={value}"]
    child = run.start("postgres", command, directory=data, account=account)
    server = Postgres(child, port)
    child.wait_until(lambda: answers(url.format(port=port) if url else server.url))
    return server


def answers(url: str) -> bool:
    """Whether a server answers a query at this URL."""
    try:
        with psycopg.connect(url, connect_timeout=5) as connection:
            return connection.execute("SELECT 1").fetchone() == (1,)
    except psycopg.OperationalError:
        return False
