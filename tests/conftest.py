"""What tests of the stack and of the instruments share."""

import os
import signal
from collections.abc import Iterator

import pytest

from stack.host import external_postgres
from stack.host.account import account
from stack.processes import forks
from stack.processes.run import Run
from stack.servers import postgres

# As the command does: a service that compiles itself anew at every start makes tests wait.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# No test talks to the internet, and a client takes 20 ms of CPU to read the authorities there.
os.environ.pop("SSL_CERT_FILE", None)
os.environ["SSL_CERT_DIR"] = os.devnull

# In the background of a shell, or under nohup, these are ignored, and every process that the tests
# start would inherit that. A handler is not inherited: the tests go on, and their children end.
for signal_number in (signal.SIGINT, signal.SIGHUP):
    if signal.getsignal(signal_number) == signal.SIG_IGN:
        signal.signal(signal_number, lambda number, frame: None)


@pytest.fixture(scope="session", autouse=True)
def _forks() -> Iterator[None]:
    """Fork services from a process that has their libraries: reading them is most of a start."""
    with forks.enabled():
        yield


@pytest.fixture
def own_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The URL of a PostgreSQL that is not the stack's, as SURGE_POSTGRES_URL names it."""
    who = account()
    run = Run(who.home, who)
    try:
        data = run.directory / "data"
        who.run(who.binaries / "initdb", f"--pgdata={data}", "--username=you", "--auth=trust")
        url = "postgresql://you@127.0.0.1:{port}/postgres"
        server = postgres.start(run, who, data, {}, url=url)
        with monkeypatch.context() as patch:
            patch.setenv(external_postgres.URL_VARIABLE, url.format(port=server.port))
            yield url.format(port=server.port)
        server.stop()
    finally:
        run.close()
