"""What PostgreSQL's refusals mean, by their SQLSTATE: its first two characters are a class."""

from typing import NamedTuple

import asyncpg
from sqlalchemy.exc import DBAPIError


class Refusal(NamedTuple):
    """One that passes: the client gets 503, and when to come again."""

    retry: bool = False
    """A read may be tried again at once."""

    stale: bool = False
    """An old answer is better than none: nothing can be changed meanwhile."""

    reconnect: bool = False
    """This connection would refuse the next statement, too; another one may not."""


UNAVAILABLE = Refusal(retry=True, stale=True)
LOCKED = Refusal()

# What is not in here is a bug of ours, and a 500: 22 (data), 23 (constraints), 42 (a typo), ...
REFUSALS = {
    "08": UNAVAILABLE,  # the connection was lost
    "53": UNAVAILABLE,  # no room for us: connections, memory, disk
    "57P": UNAVAILABLE,  # PostgreSQL goes, or comes
    "25006": Refusal(reconnect=True),  # read-only: after a failover, this one leads to the standby
    "40001": Refusal(retry=True),  # another transaction was quicker (serialization failure)
    "40P01": Refusal(retry=True),  # two waited for each other, and this one was chosen (deadlock)
    "55P03": LOCKED,  # lock_timeout: it has waited long enough, and would wait again
    "57014": Refusal(),  # statement_timeout, or an operator ended it
    "58": Refusal(),  # the system under PostgreSQL fails: a disk, a file
    "XX": Refusal(),  # PostgreSQL itself fails
}
# A migration has changed a type under a prepared statement. SQLAlchemy prepares all of them anew.
# The code, 0A000, is also that of features which PostgreSQL lacks; those are bugs.
PLAN_OUTDATED = Refusal(retry=True)


def classify(error: DBAPIError) -> Refusal | None:
    """What an error means, if it is a refusal; None for a bug."""
    if isinstance(getattr(error.orig, "__cause__", None), asyncpg.InvalidCachedStatementError):
        return PLAN_OUTDATED
    state = getattr(error.orig, "sqlstate", None) or ""
    for length in (5, 3, 2):
        if found := REFUSALS.get(state[:length]):
            return found
    return UNAVAILABLE if error.connection_invalidated else None
