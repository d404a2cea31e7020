"""What the service shows from outside: its threads and its responses."""

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from types import TracebackType
from typing import Self

import psutil

from surge.count.source import Counters, Load, Source

SAMPLING_SECONDS = 0.1


class ThreadCount(Source):
    """The most threads that the service's processes had together, sampled until it is collected."""

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self._most = self._pool.submit(self._sample)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._pool.shutdown()

    def collect(self, load: Load) -> Counters:
        """`app.threads.max`."""
        self._over.set()
        return {"app.threads.max": self._most.result()}

    def _sample(self) -> int:
        most, over = 0, False
        while not over:
            # The last sample comes when the load is over: threads stay for a while.
            over = self._over.wait(SAMPLING_SECONDS)
            with suppress(psutil.NoSuchProcess):  # a child ended meanwhile; the next sample counts
                processes = self.system.service.processes()
                most = max(most, sum(process.num_threads() for process in processes))
        return most


class Responses(Source):
    """What the load generator saw."""

    def collect(self, load: Load) -> Counters:
        """`http.bytes` and `http.errors`."""
        result = load.result
        responses = sum(result.statuses.values())
        not_2xx = sum(n for status, n in result.statuses.items() if status // 100 != 2)
        return {
            "http.bytes": result.body_bytes / max(responses, 1),
            "http.errors": not_2xx + result.unanswered,
        }
