"""The machines of the last checkpoint, each by itself: the class and a clock, and no server."""

import sys

import pytest

from stack.checkpoint import checkpoints

# All checkpoints have a package `app`. These tests are about the last one's.
sys.path.insert(0, str(checkpoints()[-1].directory))


@pytest.fixture
def anyio_backend() -> str:
    """What runs a test that is marked `anyio`."""
    return "asyncio"
