"""Loads the seed data into an empty PostgreSQL database."""

import hashlib
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, LiteralString

import psycopg

from stack.seed import data

HERE = Path(__file__).parent
SOURCES = ("data.py", "words.py", "load.py", "tables.sql")
REPORT_EVERY = 5_000  # rows between two calls of `progress`

# Parents before children, columns in the order of tables.sql.
COPIES: list[tuple[LiteralString, list[str], Callable[[data.Size], Iterable[tuple[Any, ...]]]]] = [
    ("COPY sellers FROM STDIN (FORMAT binary)", ["int4", "text", "text"], data.sellers),
    (
        "COPY products FROM STDIN (FORMAT binary)",
        ["int4", "int4", "text", "text", "text", "int4", "int4", "timestamptz"],
        data.products,
    ),
    (
        "COPY reviews FROM STDIN (FORMAT binary)",
        ["int4", "int4", "text", "int2", "text", "timestamptz"],
        data.reviews,
    ),
    (
        "COPY orders FROM STDIN (FORMAT binary)",
        ["int8", "int4", "int4", "int4", "int4", "text", "text", "timestamptz"],
        data.orders,
    ),
]


def fingerprint(size: data.Size) -> str:
    """A hash that changes whenever the seeded database would."""
    digest = hashlib.sha256(repr((size, data.COUNTS[size])).encode())
    for name in SOURCES:
        digest.update((HERE / name).read_bytes())
    return digest.hexdigest()[:16]


def load(
    connection: psycopg.Connection[Any], size: data.Size, progress: Callable[[int, int], None]
) -> None:
    """Create the tables and fill them in one transaction; then vacuum them.

    Args:
        connection: to an empty database; in autocommit mode afterwards.
        size: which dataset.
        progress: called with the rows loaded so far and their total.
    """
    done, total = 0, sum(data.COUNTS[size])
    with connection.transaction(), connection.cursor() as cursor:
        cursor.execute((HERE / "tables.sql").read_bytes())
        for statement, types, rows in COPIES:
            with cursor.copy(statement) as copy:
                copy.set_types(types)
                for row in rows(size):
                    copy.write_row(row)
                    done += 1
                    if done % REPORT_EVERY == 0:
                        progress(done, total)
        # The seed has order ids of its own; the sequence continues after them.
        cursor.execute("SELECT setval(pg_get_serial_sequence('orders', 'id'), max(id)) FROM orders")
    progress(total, total)
    # Otherwise autovacuum would process the new rows in the middle of a run.
    connection.autocommit = True
    connection.execute("VACUUM (FREEZE, ANALYZE)")
