"""Cursors of keyset pagination: a position among the products, newest first, as opaque text."""

import base64
import struct
from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import HTTPException
from sqlalchemy import Row

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
POSITION = struct.Struct(">qi")  # microseconds since the epoch, and the product's id


def encode_cursor(product: Row[Any]) -> str:
    microseconds = (product.created_at - EPOCH) // timedelta(microseconds=1)
    return base64.urlsafe_b64encode(POSITION.pack(microseconds, product.id)).decode()


def decode_cursor(cursor: str) -> tuple[datetime, int]:
    try:
        microseconds, product_id = POSITION.unpack(base64.b64decode(cursor, b"-_", validate=True))
        return EPOCH + timedelta(microseconds=microseconds), product_id
    except (ValueError, struct.error, OverflowError):
        detail = "This cursor is none of ours. Take `next` from a page, or start without one."
        raise HTTPException(422, detail) from None
