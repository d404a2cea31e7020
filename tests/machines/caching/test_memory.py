"""MemoryCache: bounded in bytes, the least recently used goes first, and each response expires."""

import gzip

import pytest
from app.caching.memory import CachedResponse, MemoryCache
from app.settings import settings


def test_size_in_bytes_never_exceeds_the_limit() -> None:
    memory = MemoryCache(3 * CachedResponse(b"x" * 1000).size)
    for key in ("a", "b", "c", "d", "a"):
        memory.put(key, CachedResponse(b"x" * 1000))
        assert memory.size == sum(one.size for one in memory.responses.values()) <= memory.max_bytes
    assert [*memory.responses] == ["c", "d", "a"]


def test_least_recently_used_goes_first() -> None:
    memory = MemoryCache(2 * CachedResponse(b"").size)
    for key in ("a", "b", "c"):
        memory.put(key, CachedResponse(b""))
        memory.get("a")
    assert [*memory.responses] == ["c", "a"]


def test_response_expires_and_is_still_there_in_need(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = MemoryCache(10_000)
    memory.put("a", response := CachedResponse(b""))
    assert memory.get("a") is response
    monkeypatch.setattr("time.monotonic", lambda: response.expires_at + 0.1)
    assert memory.get("a") is None
    assert memory.get_stale("a") is response, "for a database that does not answer"
    monkeypatch.setattr("time.monotonic", lambda: response.expires_at + settings.cache_stale)
    assert memory.get_stale("a") is None


def test_many_urls_find_one_response_until_it_is_dropped() -> None:
    memory = MemoryCache(10_000)
    memory.put("product:7", response := CachedResponse(b"{}"))
    for url in (b"/products/7", b"/products/07", b"/products/7?from=newsletter"):
        assert memory.get_by_url(url) is None
        memory.remember_url(url, "product:7")
        assert memory.get_by_url(url) is response
    memory.drop("product:7")
    assert (memory.get_by_url(b"/products/7"), memory.size) == (None, 0)


def test_etag_is_that_of_the_body_compressed_or_not() -> None:
    response = CachedResponse(b"price: 1")
    body, headers = response.gzipped
    assert (gzip.decompress(body), (b"etag", response.etag) in headers) == (response.body, True)
    assert response.matches_etag(b'"other", ' + response.etag)
    assert not response.matches_etag(CachedResponse(b"price: 2").etag)
