"""CacheEntry: what Redis stores under a key, and how it is told from what is no entry."""

import pytest
from app.caching.redis import LEASE, NEGATIVE_ENTRY, CacheEntry, make_entry, parse
from app.settings import settings

BODY = b'{"id": 7, "name": "A lamp of many words"}'


def test_entry_returns_its_body_and_expiry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 1000.0)
    entry = CacheEntry.make(BODY, seconds=60)
    assert entry.is_valid
    assert entry.body == BODY
    assert entry.expires_at == 1060


def test_entry_is_stale_once_it_has_expired(monkeypatch: pytest.MonkeyPatch) -> None:
    entry = CacheEntry.make(BODY, seconds=60)
    assert not entry.is_stale
    monkeypatch.setattr("time.time", lambda: entry.expires_at + 0.1)
    assert entry.is_stale
    assert entry.body == BODY, "it is still there, to be sent while a new one is fetched"


@pytest.mark.parametrize("raw", [b"", b" ", BODY, b"null", b"00000000 " + BODY])
def test_what_has_no_checksum_of_its_own_is_no_entry(raw: bytes) -> None:
    assert not CacheEntry(raw).is_valid
    assert parse(raw) == "unavailable"


def test_entry_with_any_other_byte_or_cut_off_is_no_entry() -> None:
    raw = CacheEntry.make(BODY, seconds=60).raw
    for place in range(len(raw)):
        assert not CacheEntry(raw[:place]).is_valid, f"cut off after {place} bytes"
        changed = raw[:place] + bytes([raw[place] ^ 1]) + raw[place + 1 :]
        assert not CacheEntry(changed).is_valid, f"byte {place} is another one"


def test_lease_of_another_request_is_told_from_an_entry() -> None:
    entry = CacheEntry.make(BODY, seconds=60)
    assert parse(entry.raw) == entry
    assert parse(LEASE + b"12345678") == "busy"


def test_lifetimes_differ_by_a_tenth(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("time.time", lambda: 0.0)
    for body, usual in (BODY, settings.cache_seconds), (NEGATIVE_ENTRY, settings.cache_missing):
        lifetimes = [make_entry(body).expires_at for _ in range(100)]
        assert len(set(lifetimes)) > 50, "entries made together would expire together"
        assert 0.9 * usual <= min(lifetimes) <= max(lifetimes) <= 1.1 * usual
