"""A checkpoint of ten lines, to test the stack with."""

from pathlib import Path

import pytest
from steps import write_step

from stack.checkpoint import Checkpoint

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
    (tmp_path / "extra.sql").write_text("CREATE TABLE extra (id integer)")
    serve = 'services = ["postgres", "redis", "partners"]\nsql = ["extra.sql"]'
    return write_step(tmp_path, "smallest", serve, app=APP)
