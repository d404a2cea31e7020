"""A checkpoint behind nginx, to test nginx with."""

from pathlib import Path

import pytest
from steps import BEHIND_NGINX, write_step

from stack.checkpoint import Checkpoint

APP = """
import os
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": str(os.getpid()).encode()})
"""


@pytest.fixture
def proxied(tmp_path: Path) -> Checkpoint:
    """Two instances, which answer with their process ids."""
    return write_step(tmp_path, "proxied", BEHIND_NGINX, app=APP)
