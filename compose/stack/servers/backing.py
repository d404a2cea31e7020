"""The servers beneath a service: PostgreSQL with the dataset, Redis, the partners, the traces."""

import os
import secrets
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from stack.errors import StackError
from stack.host import attached
from stack.host.account import Account, account
from stack.processes.keeper import MARK
from stack.processes.ports import free_port
from stack.processes.run import Child, Run
from stack.seed.data import Size
from stack.servers import postgres, valkey
from stack.servers.cluster import Progress, after, outcome, run_script, seed
from stack.servers.postgres import RESERVED_CONNECTIONS
from stack.stubs.client import configure_partners, fetch, partner_stats, port_of


class Backing:
    """Starts what is asked of it.

    Args:
        run: what they belong to.
        undo: ends them.
    """

    def __init__(self, run: Run, undo: ExitStack) -> None:
        self.run = run
        self.undo = undo
        self.children: dict[str, Child] = {}
        self.database_url = self.instruments_url = self.redis_url = ""
        self.partners_url = self.traces_url = ""
        self.cache_prefix = "shop"

    def start_partners(self) -> None:
        """Start the partner stub; it comes up while others do."""
        self.partners_url = self._serve_stub("partners")

    def start_traces(self) -> None:
        """Start the trace receiver; it comes up while others do."""
        self.traces_url = self._serve_stub("traces")

    def wait_for_stubs(self) -> None:
        """Wait until partners and trace receiver answer, whichever there are."""
        for name, url in (("partners", self.partners_url), ("traces", self.traces_url)):
            if url:
                self.children[name].wait_until(partial(answers, port_of(url)))

    def reset_partners(self, settings: Mapping[str, float | bool]) -> None:
        """Zero their counts, once no call is in flight, and set their settings back."""
        url, port = self.partners_url, port_of(self.partners_url)
        self.children["partners"].wait_until(
            lambda: answers(port) and partner_stats(url)["in_flight"] == 0
        )
        fetch(port, "/reset", "POST")
        configure_partners(url, **settings)

    def reset_traces(self) -> None:
        """Forget the traces that were received."""
        fetch(port_of(self.traces_url), "/reset", "POST")

    def start_redis(self) -> None:
        """Start a cache server, or use the one that SURGE_REDIS_URL names.

        Raises:
            StackError: nobody answers there.
        """
        if url := os.environ.get("SURGE_REDIS_URL"):
            if not valkey.answers(url):
                raise StackError(f"SURGE_REDIS_URL does not work: nobody answers at {url}.")
            self.redis_url = url
            self.cache_prefix = f"surge-{self.run.id}"  # others may keep things there
            return
        self._serve_redis()

    def reset_redis(self) -> None:
        """An empty cache. In somebody else's, who keeps what it has: names nobody has used."""
        if "cache" in self.children:
            self.restart_redis()
        else:
            self.cache_prefix = f"surge-{secrets.token_hex(6)}"

    def restart_redis(self) -> None:
        """Kill the cache server, with all it keeps, and start another one in its place."""
        self.children["cache"].stop(signal.SIGKILL)
        self._serve_redis(port_of(self.redis_url))

    def start_postgres(
        self, size: Size, scripts: Sequence[Path], keep: bool, max_connections: int
    ) -> None:
        """Start PostgreSQL on a copy of the dataset, or make one where SURGE_POSTGRES_URL says.

        Args:
            size: which dataset.
            scripts: SQL that runs on it.
            keep: whether the outcome is worth keeping for the next time; what was kept is used.
            max_connections: how many the service may open.
        """
        data = prepare(size, lambda done, total: None)
        who = account()
        if url := os.environ.get(attached.VARIABLE):
            self.database_url = self.instruments_url = attached.copy(url, data, self.run.id)
        elif scripts and (keep or outcome(Path(data), scripts).exists()):
            self._serve_copy(who, after(who, Path(data), scripts), max_connections)
            return
        else:
            self._serve_copy(who, Path(data), max_connections)
        for script in scripts:
            run_script(self.database_url, script)

    def end_postgres(self) -> None:
        """Shut PostgreSQL down: whoever is connected is cut off, what is committed is kept."""
        self.children["database"].stop(signal.SIGINT)

    def restart_postgres(self) -> None:
        """Shut it down, unless that is done, and start it again on the same data and port."""
        self.end_postgres()
        self._serve_database(port_of(self.database_url))

    def _serve_stub(self, name: str) -> str:
        port = free_port()
        child = self.run.serve(name, [f"stack.stubs.{name}"], port, {})
        self.undo.callback(child.stop, signal.SIGKILL)  # it has nothing to put in order
        self.children[name] = child
        return f"http://127.0.0.1:{port}"

    def _serve_copy(self, who: Account, cluster: Path, max_connections: int) -> None:
        copy = self.run.directory / "data"
        # Marked, so that nobody copies any more when the keeper removes the folder.
        who.call("cp", "-R", cluster, copy, environment={MARK: self.run.id})
        self._limit = str(max_connections + RESERVED_CONNECTIONS)
        self._serve_database()

    def _serve_database(self, port: int = 0) -> None:
        data, settings = self.run.directory / "data", {"max_connections": self._limit}
        server = postgres.start(self.run, account(), data, settings, port=port)
        self.undo.callback(server.stop)
        self.children["database"] = server.child
        self.database_url = server.url
        self.instruments_url = server.url_for(postgres.INSTRUMENTS)

    def _serve_redis(self, port: int = 0) -> None:
        server = valkey.start(self.run, port)
        self.undo.callback(server.stop)
        self.children["cache"] = server.child
        self.redis_url = server.url


def answers(port: int) -> bool:
    """Whether a stub of ours is up."""
    return fetch(port, "/stats")[0] == 200


def prepare(size: Size, progress: Progress) -> str:
    """Make sure the dataset is there; returns where: a data directory, or a template database.

    Args:
        size: which dataset.
        progress: called with rows loaded and rows in all, when it has to be built.
    """
    if url := os.environ.get(attached.VARIABLE):
        return attached.seed(url, size, progress)
    return str(seed(account(), size, progress))
