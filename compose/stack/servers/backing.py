"""The backing services of a shop: PostgreSQL with the dataset, Redis, partners, trace receiver."""

import os
import secrets
import signal
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path

from stack.errors import StackError
from stack.host import external_postgres
from stack.host.account import account
from stack.processes.ports import free_port
from stack.processes.reaper import RUN_VARIABLE
from stack.processes.run import Child, Run
from stack.seed.data import Size
from stack.servers import postgres, valkey
from stack.servers.cluster import (
    Progress,
    cluster_with_scripts,
    path_with_scripts,
    run_script,
    seed_cluster,
)
from stack.servers.postgres import RESERVED_CONNECTIONS
from stack.stubs.client import configure_partners, fetch, partner_stats, port_of


class BackingServices:
    """The services that a shop needs, each started on request.

    Args:
        run: the run they belong to.
        cleanup: gets a callback for each, which ends it.
    """

    def __init__(self, run: Run, cleanup: ExitStack) -> None:
        self.run = run
        self.cleanup = cleanup
        self.children: dict[str, Child] = {}
        self.database_url = self.instruments_url = self.redis_url = ""
        self.partners_url = self.traces_url = ""
        self.cache_prefix = "shop"

    def start_partners(self) -> None:
        """Start the partner stub, without waiting for it."""
        self.partners_url = self._serve_stub("partners")

    def start_traces(self) -> None:
        """Start the trace receiver, without waiting for it."""
        self.traces_url = self._serve_stub("traces")

    def wait_for_stubs(self) -> None:
        """Wait until the stubs that were started respond."""
        for name, url in (("partners", self.partners_url), ("traces", self.traces_url)):
            if url:
                self.children[name].wait_until(partial(responds, port_of(url)))

    def reset_partners(self, settings: Mapping[str, float | bool]) -> None:
        """Zero their counts, once no call is in flight, and set their settings back."""
        url, port = self.partners_url, port_of(self.partners_url)
        self.children["partners"].wait_until(
            lambda: responds(port) and partner_stats(url)["in_flight"] == 0
        )
        fetch(port, "/reset", "POST")
        configure_partners(url, **settings)

    def reset_traces(self) -> None:
        """Drop the traces that were received."""
        fetch(port_of(self.traces_url), "/reset", "POST")

    def start_redis(self) -> None:
        """Start a cache server, or use the one that SURGE_REDIS_URL names.

        Raises:
            StackError: no server answers at that URL.
        """
        if url := os.environ.get("SURGE_REDIS_URL"):
            if not valkey.answers(url):
                raise StackError(f"SURGE_REDIS_URL does not work: nobody answers at {url}.")
            self.redis_url = url
            self.cache_prefix = f"surge-{self.run.id}"  # the server may hold other data, too
            return
        self._serve_redis()

    def reset_redis(self) -> None:
        """Empty our own server. On the user's, switch to an unused key prefix."""
        if "cache" in self.children:
            self.restart_redis()
        else:
            self.cache_prefix = f"surge-{secrets.token_hex(6)}"

    def restart_redis(self) -> None:
        """Kill the cache server, with all its data, and start another one on the same port."""
        self.children["cache"].stop(signal.SIGKILL)
        self._serve_redis(port_of(self.redis_url))

    def start_postgres(
        self, size: Size, scripts: Sequence[Path], keep: bool, max_connections: int
    ) -> None:
        """Start PostgreSQL on a copy of the dataset, or create one on SURGE_POSTGRES_URL's server.

        Args:
            size: which dataset.
            scripts: SQL to run on it.
            keep: whether to keep the dataset with these scripts for later runs; one that was
                kept before is used in any case.
            max_connections: how many the service may open.
        """
        dataset = prepare_dataset(size, lambda done, total: None)
        if url := os.environ.get(external_postgres.URL_VARIABLE):
            self.database_url = external_postgres.copy(url, dataset, self.run.id)
            self.instruments_url = self.database_url
        else:
            cluster = Path(dataset)
            if scripts and (keep or path_with_scripts(cluster, scripts).exists()):
                cluster = cluster_with_scripts(account(), cluster, scripts)
                scripts = []  # they have run on this cluster
            self._serve_copy(cluster, max_connections)
        for script in scripts:
            run_script(self.database_url, script)

    def stop_postgres(self) -> None:
        """Shut PostgreSQL down: clients are disconnected, committed data is kept."""
        self.children["database"].stop(signal.SIGINT)

    def restart_postgres(self) -> None:
        """Stop PostgreSQL, if it runs, and start it again on the same data and port."""
        self.stop_postgres()
        self._serve_database(port_of(self.database_url))

    def _serve_stub(self, name: str) -> str:
        port = free_port()
        child = self.run.serve(name, [f"stack.stubs.{name}"], port, {})
        self.cleanup.callback(child.stop, signal.SIGKILL)  # it has nothing to save
        self.children[name] = child
        return f"http://127.0.0.1:{port}"

    def _serve_copy(self, cluster: Path, max_connections: int) -> None:
        copy = self.run.directory / "data"
        # As a process of the run, so that the reaper ends it before it removes the folder.
        account().run("cp", "-R", cluster, copy, environment={RUN_VARIABLE: self.run.id})
        self._max_connections = str(max_connections + RESERVED_CONNECTIONS)
        self._serve_database()

    def _serve_database(self, port: int = 0) -> None:
        data, settings = self.run.directory / "data", {"max_connections": self._max_connections}
        server = postgres.start(self.run, account(), data, settings, port=port)
        self.cleanup.callback(server.stop)
        self.children["database"] = server.child
        self.database_url = server.url
        self.instruments_url = server.url_for(postgres.INSTRUMENTS)

    def _serve_redis(self, port: int = 0) -> None:
        server = valkey.start(self.run, port)
        self.cleanup.callback(server.stop)
        self.children["cache"] = server.child
        self.redis_url = server.url


def responds(port: int) -> bool:
    """Whether a stub is up."""
    return fetch(port, "/stats")[0] == 200


def prepare_dataset(size: Size, progress: Progress) -> str:
    """Build the dataset if it is missing; returns its data directory, or its template database.

    Args:
        size: which dataset.
        progress: while it is built, called with the rows loaded so far and their total.
    """
    if url := os.environ.get(external_postgres.URL_VARIABLE):
        return external_postgres.seed_template(url, size, progress)
    return str(seed_cluster(account(), size, progress))
