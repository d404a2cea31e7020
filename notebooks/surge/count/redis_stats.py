"""The commands that the Redis server gets in a run, and the keys it has afterwards.

On a server of your own (`SURGE_REDIS_URL`), the commands of other programs are counted as well.
"""

from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from types import TracebackType
from typing import Self
from uuid import uuid4

import redis

from stack.system import System
from surge.count.source import Counters, Load, Source

SET_UP = {"auth", "client", "hello", "info", "ping", "select"}
"""Commands with which a client sets up its connection or asks for the server's state."""


class RedisStats(Source):
    """What the server has counted since it was entered; all zero for a system without a server.

    The server reports every command as it comes (MONITOR). The commands inside a script do not
    count, since they cost the service no round trip.
    """

    def __init__(self, system: System) -> None:
        super().__init__(system)
        self.url = system.redis_url
        self.pattern = f"{system.cache_prefix}:*"
        self._last = f"surge {uuid4()}"

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            if self.url:
                # No timeout: a run may send no command for longer than the client's default.
                client = redis.Redis.from_url(self.url, socket_timeout=None)
                self._client = stack.enter_context(client)
                listener = stack.enter_context(ThreadPoolExecutor(1))
                monitor = stack.enter_context(self._client.monitor())
                stack.callback(
                    self._client.echo, self._last
                )  # ends the listener if nothing was collected
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

    def collect(self, load: Load) -> Counters:
        """`redis.*`."""
        return self.counters(load.requests)

    def counters(self, requests: int) -> Counters:
        """`redis.commands` per request until now; `redis.keys`, and those without a TTL."""
        if not self.url:
            return dict.fromkeys(("redis.commands", "redis.keys", "redis.keys_without_ttl"), 0)
        self._client.echo(self._last)
        pipeline = self._client.pipeline(transaction=False)
        for key in self._client.scan_iter(self.pattern, count=1000):
            pipeline.pttl(key)
        lifetimes = [left for left in pipeline.execute() if left != -2]  # -2: deleted meanwhile
        return {
            "redis.commands": self._commands.result() / requests,
            "redis.keys": len(lifetimes),
            "redis.keys_without_ttl": lifetimes.count(-1),
        }

    def _listen(self, monitor: redis.client.Monitor) -> int:
        commands = 0
        for entry in monitor.listen():
            if self._last in entry["command"]:
                break
            name = entry["command"].partition(" ")[0].lower()
            commands += entry["client_type"] != "lua" and name not in SET_UP
        return commands
