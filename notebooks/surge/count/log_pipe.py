"""A log on a disk that stalls or is slow: a pipe, which holds some 64 kB, and a slow reader."""

import os
import threading
from io import FileIO
from pathlib import Path
from tempfile import TemporaryDirectory
from types import TracebackType
from typing import Self

CHUNK = 4096


class LogPipe:
    """A pipe whose `path` serves as the service's log file; a context manager.

    It must outlive the service.

    Args:
        rate: bytes a second that the disk accepts; 0 accepts none at all.
    """

    def __init__(self, rate: float = 0) -> None:
        self.rate = rate
        self.written = b""
        self._recovered = threading.Event()

    def __enter__(self) -> Self:
        self._folder = TemporaryDirectory()
        self.path = Path(self._folder.name) / "requests.log"
        os.mkfifo(self.path)
        # Both ends are ours as well, so that neither side waits for the other to open the pipe.
        output = os.open(self.path, os.O_RDONLY | os.O_NONBLOCK)
        os.set_blocking(output, True)
        self._input = FileIO(os.open(self.path, os.O_WRONLY), "w")
        self._reader = threading.Thread(target=self._read, args=[FileIO(output)])
        self._reader.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.finish()
        self._folder.cleanup()

    def recover(self) -> None:
        """From now on the disk accepts everything."""
        self._recovered.set()

    def finish(self) -> bytes:
        """All that was written. The service must have ended, or end on its own."""
        self.recover()
        self._input.close()
        self._reader.join()
        return self.written

    def _read(self, output: FileIO) -> None:
        with output:
            if not self.rate:
                self._recovered.wait()
            while chunk := output.read(CHUNK):
                self.written += chunk
                self._recovered.wait(len(chunk) / self.rate if self.rate else 0)
