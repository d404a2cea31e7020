"""Cursors, without a server: what was encoded comes back, and what is made up is refused."""

import base64
import struct
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest
from app.cursors import decode_cursor, encode_cursor
from fastapi import HTTPException
from hypothesis import given, strategies as st

MOMENTS = st.datetimes(timezones=st.just(UTC))
IDS = st.integers(1, 2**31 - 1)
AT = datetime(2026, 11, 22, 9, 30, 0, 123456, tzinfo=UTC)


def product(created_at: datetime, id: int) -> Any:
    return SimpleNamespace(created_at=created_at, id=id)


@given(MOMENTS, IDS)
def test_cursor_round_trip(created_at: datetime, id: int) -> None:
    assert decode_cursor(encode_cursor(product(created_at, id))) == (created_at, id)


@given(MOMENTS, IDS)
def test_cursor_needs_no_escaping_in_a_url(created_at: datetime, id: int) -> None:
    assert set(encode_cursor(product(created_at, id))).isdisjoint("+/?&#% ")


FORGED = {
    "empty": "",
    "not base64": "no cursor!",
    "too short": base64.urlsafe_b64encode(b"short").decode(),
    "too long": encode_cursor(product(AT, 7)) + "AAAA",
    "outside of the calendar": base64.urlsafe_b64encode(struct.pack(">qi", 2**63 - 1, 7)).decode(),
    "not ASCII": "é",
}


@pytest.mark.parametrize("cursor", FORGED.values(), ids=FORGED)
def test_forged_cursor_is_refused(cursor: str) -> None:
    with pytest.raises(HTTPException) as refused:
        decode_cursor(cursor)
    assert refused.value.status_code == 422
    assert "start without one" in refused.value.detail
