"""A checkpoint behind nginx, to test nginx with."""

from pathlib import Path

import pytest

from stack.checkpoint import Checkpoint, read

TOML = """
number = 99
name = "proxied"
title = "Two instances of the smallest service"
change = "none"
touches = []
shows = []
[serve]
command = ["uvicorn", "app:app"]
services = []
instances = 2
proxy = "nginx"
"""

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
    (tmp_path / "checkpoint.toml").write_text(TOML)
    (tmp_path / "app.py").write_text(APP)
    return read(tmp_path)
