"""The experiment with idle connections says what a machine lacks, and changes nothing there."""

import resource
import sys

import pytest

from stack.errors import StackError
from surge.load import idle


def test_macos_keeps_its_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: object) -> None:
        raise ValueError("current limit exceeds maximum limit")  # as macOS says

    monkeypatch.setattr(sys, "platform", "darwin")
    monkeypatch.setattr(resource, "setrlimit", refused)
    with pytest.raises(StackError, match="Only Linux"):
        idle.connections_per_process(100)
