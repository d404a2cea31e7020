"""What the Redis server is asked in a run, and what it keeps afterwards.

On a server of your own (`SURGE_REDIS_URL`), what other programs ask meanwhile is counted as well.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self
from uuid import uuid4

import redis

from stack.system import System

SET_UP = {"auth", "client", "hello", "info", "ping", "select"}
"""Commands with which a client sets up its connection or asks how things are."""


class Keyspace:
    """The server's books from now on; a context manager. A system without a server has empty ones.

    The server reports every command as it comes (MONITOR). What a script asks in its turn is no
    command of the service: it costs no round trip.
    """

    def __init__(self, system: System) -> None:
        self.url = system.redis_url
        self.pattern = f"{system.cache_prefix}:*"
        self._last = f"surge {uuid4()}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.url:
                # A run may ask Redis nothing for longer than the client's own patience.
                client = redis.Redis.from_url(self.url, socket_timeout=None)
                self._client = stack.enter_context(client)
                listener = stack.enter_context(ThreadPoolExecutor(1))
                monitor = stack.enter_context(self._client.monitor())
                stack.callback(self._client.echo, self._last)  # should nobody read the books
                self._commands = listener.submit(self._listen, monitor)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._stack.close()

    def counters(self, requests: int) -> dict[str, float]:
        """`redis.commands` a request until now; keys there are, and those without an end."""
        if not self.url:
            return dict.fromkeys(("redis.commands", "redis.keys", "redis.keys_without_ttl"), 0)
        self._client.echo(self._last)
        pipeline = self._client.pipeline(transaction=False)
        for key in self._client.scan_iter(self.pattern, count=1000):
            pipeline.pttl(key)
        lifetimes = [left for left in pipeline.execute() if left != -2]  # -2: gone meanwhile
        return {
            "redis.commands": self._commands.result() / requests,
            "redis.keys": len(lifetimes),
            "redis.keys_without_ttl": lifetimes.count(-1),
        }

    def _listen(self, monitor: redis.client.Monitor) -> int:
        commands = 0
        for told in monitor.listen():
            if self._last in told["command"]:
                break
            name = told["command"].partition(" ")[0].lower()
            commands += told["client_type"] != "lua" and name not in SET_UP
        return commands
