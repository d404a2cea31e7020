"""An invalidation that cannot be sent is not cleared by the late reply to an earlier one."""

import asyncio
from typing import Any

from app.caching import redis as cache


async def main() -> None:
    answered, execute = asyncio.Event(), cache.redis.execute_command

    async def late(*command: Any) -> Any:  # Redis has done it; its reply is still on its way
        answer = await execute(*command)
        await answered.wait()
        return answer

    cache.redis.execute_command = late
    first = asyncio.create_task(cache.invalidate("key"))
    await asyncio.sleep(0.1)
    cache.redis_disabled_until = float("inf")
    assert not await cache.invalidate("key")  # changed again while Redis is away
    cache.redis_disabled_until = 0.0
    answered.set()
    assert await first
    assert [*cache.pending_invalidations] == ["key"]
    await cache.redis.aclose()


asyncio.run(main())
