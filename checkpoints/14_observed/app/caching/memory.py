"""The first tier: what this process has answered a moment ago, ready to be sent again."""

import gzip
import hashlib
import time
from collections import OrderedDict
from functools import cached_property

from app.settings import settings

Headers = list[tuple[bytes, bytes]]

# Meant for the proxy. It tells browsers something else: to keep an answer, but ask each time.
CACHE_CONTROL = b", ".join(
    [
        b"public, max-age=0",
        b"s-maxage=%d" % settings.edge_seconds,
        b"stale-while-revalidate=%d" % settings.edge_seconds,
        b"stale-if-error=%d" % settings.cache_stale,
    ]
)

ROOM_FOR_A_KEY = 1_000  # bytes that an answer takes besides its body, roughly
LONGEST_SPELLING = 200


class Answer:
    """A body with the headers it is sent with. Never change one: somebody may be sending it."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        # Weak, since the same tag stands for the body and for its compressed form.
        self.tag = b'W/"%b"' % hashlib.blake2b(body, digest_size=8).hexdigest().encode()
        self.until = time.monotonic() + settings.memory_seconds
        self.caching: Headers = [
            (b"etag", self.tag),
            (b"cache-control", CACHE_CONTROL),
            (b"vary", b"Accept-Encoding"),
        ]
        self.headers = self._headers(body)

    @cached_property
    def zipped(self) -> tuple[bytes, Headers]:
        """Compressed once, however often it is sent."""
        body = gzip.compress(self.body, 1)
        return body, [*self._headers(body), (b"content-encoding", b"gzip")]

    def _headers(self, body: bytes) -> Headers:
        return [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *self.caching,
        ]

    @property
    def size(self) -> int:
        return 2 * len(self.body) + ROOM_FOR_A_KEY

    def is_known_to(self, if_none_match: bytes) -> bool:
        """Whether the caller already has it, by what it says in If-None-Match."""
        return self.tag[2:] in if_none_match or if_none_match == b"*"


class Memory:
    """Answers by their keys, the least recently used one first. It has a size, and they an age."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.size = 0
        self.answers: OrderedDict[str, Answer] = OrderedDict()
        self.spellings: OrderedDict[bytes, str] = OrderedDict()

    def get(self, key: str) -> Answer | None:
        answer = self.answers.get(key)
        if answer is None:
            return None
        if answer.until < time.monotonic():
            self.drop(key)
            return None
        self.answers.move_to_end(key)
        return answer

    def put(self, key: str, answer: Answer) -> None:
        self.drop(key)
        self.answers[key] = answer
        self.size += answer.size
        while self.size > self.limit:
            self.size -= self.answers.popitem(last=False)[1].size

    def drop(self, key: str) -> None:
        if answer := self.answers.pop(key, None):
            self.size -= answer.size

    def clear(self) -> None:
        self.answers.clear()
        self.size = 0

    # A URL can be spelled in many ways. The endpoint knows which key it means; next time nobody
    # has to ask it. Keys are made of what was validated, so no spelling has an answer of its own.

    def spelled(self, url: bytes) -> Answer | None:
        key = self.spellings.get(url)
        return self.get(key) if key else None

    def learn(self, url: bytes, key: str) -> None:
        if len(url) > LONGEST_SPELLING:
            return
        if len(self.spellings) >= settings.memory_spellings:
            self.spellings.popitem(last=False)  # the oldest; if it is used, it is back
        self.spellings[url] = key


memory = Memory(settings.memory_bytes)
