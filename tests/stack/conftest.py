"""A checkpoint of ten lines, to test the stack with."""

from pathlib import Path

import pytest

from stack.checkpoint import Checkpoint, read

TOML = """
number = 99
name = "smallest"
title = "The smallest service"
change = "none"
touches = []
shows = []
[serve]
command = ["uvicorn", "app:app"]
services = ["postgres", "redis", "partners"]
sql = ["extra.sql"]
"""

APP = """
import os
async def app(scope, receive, send):
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200})
        await send({"type": "http.response.body", "body": os.environ["DATABASE_URL"].encode()})
"""


@pytest.fixture
def smallest(tmp_path: Path) -> Checkpoint:
    """A checkpoint whose service answers 200 to everything."""
    (tmp_path / "checkpoint.toml").write_text(TOML)
    (tmp_path / "app.py").write_text(APP)
    (tmp_path / "extra.sql").write_text("CREATE TABLE extra (id integer)")
    return read(tmp_path)
