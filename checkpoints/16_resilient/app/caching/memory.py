"""The first tier: responses in this process's memory, ready to be sent again."""

import gzip
import hashlib
import time
from collections import OrderedDict
from functools import cached_property

from app.settings import settings

Headers = list[tuple[bytes, bytes]]

# For the proxy. It tells browsers to keep a response too, but to ask for it each time.
CACHE_CONTROL = b", ".join(
    [
        b"public, max-age=0",
        b"s-maxage=%d" % settings.edge_seconds,
        b"stale-while-revalidate=%d" % settings.edge_seconds,
        b"stale-if-error=%d" % settings.cache_stale,
    ]
)

ENTRY_OVERHEAD = 1_000  # bytes that a response takes besides its body, roughly
MAX_URL_BYTES = 200


class CachedResponse:
    """A body with its headers. Never change one: another request may be sending it."""

    def __init__(self, body: bytes) -> None:
        self.body = body
        # Weak, since the plain and the compressed form have the same one.
        self.etag = b'W/"%b"' % hashlib.blake2b(body, digest_size=8).hexdigest().encode()
        self.expires_at = time.monotonic() + settings.memory_seconds
        self.cache_headers: Headers = [
            (b"etag", self.etag),
            (b"cache-control", CACHE_CONTROL),
            (b"vary", b"Accept-Encoding"),
        ]
        self.headers = self._headers(body)

    @cached_property
    def gzipped(self) -> tuple[bytes, Headers]:
        """Compressed once, however often it is sent."""
        body = gzip.compress(self.body, 1)
        return body, [*self._headers(body), (b"content-encoding", b"gzip")]

    def _headers(self, body: bytes) -> Headers:
        return [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            *self.cache_headers,
        ]

    @property
    def size(self) -> int:
        return 2 * len(self.body) + ENTRY_OVERHEAD

    def matches_etag(self, if_none_match: bytes) -> bool:
        """Whether the client has it already, by its If-None-Match."""
        return self.etag[2:] in if_none_match or if_none_match == b"*"


class MemoryCache:
    """LRU cache, bounded in bytes. Each response also expires."""

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.size = 0
        self.responses: OrderedDict[str, CachedResponse] = OrderedDict()
        self.keys_by_url: OrderedDict[bytes, str] = OrderedDict()

    def get(self, key: str) -> CachedResponse | None:
        response = self.responses.get(key)
        if response is None or response.expires_at < time.monotonic():
            return None
        self.responses.move_to_end(key)
        return response

    def get_stale(self, key: str) -> CachedResponse | None:
        """The response for `cache_stale` seconds after its expiry, when the alternative is none."""
        response = self.responses.get(key)
        if response and time.monotonic() < response.expires_at + settings.cache_stale:
            return response
        return None

    def put(self, key: str, response: CachedResponse) -> None:
        self.drop(key)
        self.responses[key] = response
        self.size += response.size
        while self.size > self.max_bytes:
            self.size -= self.responses.popitem(last=False)[1].size

    def drop(self, key: str) -> None:
        if response := self.responses.pop(key, None):
            self.size -= response.size

    def clear(self) -> None:
        self.responses.clear()
        self.size = 0

    # Many URLs mean the same key. An endpoint validates a URL and finds its key. Remembered here,
    # the URL finds the response without the endpoint, and none has a response of its own.

    def get_by_url(self, url: bytes) -> CachedResponse | None:
        key = self.keys_by_url.get(url)
        return self.get(key) if key else None

    def remember_url(self, url: bytes, key: str) -> None:
        if len(url) > MAX_URL_BYTES:
            return
        if len(self.keys_by_url) >= settings.memory_spellings:
            self.keys_by_url.popitem(last=False)  # the oldest; its next request remembers it again
        self.keys_by_url[url] = key


memory = MemoryCache(settings.memory_bytes)
