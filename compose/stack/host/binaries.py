"""Which program serves: the one on your PATH if you prefer it, or else the wheel's."""

import os
import shutil

from stack.errors import StackError


def preferred(name: str) -> str | None:
    """Where the program is on PATH, if SURGE_PREFER_SYSTEM says to take that one."""
    return shutil.which(name) if os.environ.get("SURGE_PREFER_SYSTEM") == "1" else None


def no_wheel(server: str) -> StackError:
    """What to tell a reader whose machine has no wheel of a server."""
    return StackError(
        f"There is no {server} wheel for this machine. Use the containers instead: "
        "docker compose -f compose/compose.yaml up --wait"
    )
