"""A folder is spread where the file system can do it, and left alone where it cannot."""

import fcntl
import os
import subprocess
import sys
from array import array
from pathlib import Path

import pytest

from stack.host.ext4 import FS_IOC_GETFLAGS, FS_TOPDIR_FL, spread

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="ext4 is Linux's")


def test_folders_in_a_spread_one_have_places_of_their_own(tmp_path: Path) -> None:
    kind = subprocess.run(
        ["stat", "-f", "-c", "%T", tmp_path], capture_output=True, text=True, check=True
    ).stdout.strip()
    if kind != "ext2/ext3":  # as stat calls ext4
        pytest.skip(f"{kind} knows no such flag")
    spread(tmp_path)
    flags, opened = array("i", [0]), os.open(tmp_path, os.O_RDONLY)
    fcntl.ioctl(opened, FS_IOC_GETFLAGS, flags)
    os.close(opened)
    assert flags[0] & FS_TOPDIR_FL


def test_another_file_system_is_no_error() -> None:
    spread(Path("/proc"))
