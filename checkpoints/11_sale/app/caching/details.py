"""Details: all that are looked up in one turn of the event loop share a statement."""

from functools import partial

from pydantic import TypeAdapter, ValidationError

from app.caching import tiers
from app.caching.memory import CachedResponse
from app.caching.redis import NEGATIVE_ENTRY, CacheStatus, key
from app.data_loader import DataLoader
from app.database import fetch_all
from app.queries import DETAILS
from app.schemas import Picked

DETAIL_JSON = TypeAdapter(Picked)


def key_of(product_id: int) -> str:
    return key("product", product_id)


async def get(product_id: int, bypass: bool = False) -> tuple[CachedResponse, CacheStatus]:
    return await tiers.get(key_of(product_id), partial(lookups.load, product_id), bypass)


async def look_up(ids: list[int]) -> list[bytes | ValidationError]:
    """The details in the order of their ids; NEGATIVE_ENTRY where there is no such product."""
    found = {row.id: row._asdict() for row in await fetch_all(DETAILS, {"ids": ids})}
    return [to_json(found[id]) if id in found else NEGATIVE_ENTRY for id in ids]


def to_json(detail: dict[str, object]) -> bytes | ValidationError:
    try:
        return DETAIL_JSON.dump_json(DETAIL_JSON.validate_python(detail))
    except ValidationError as error:
        return error  # for the request of this product, not for the whole batch


lookups = DataLoader(look_up)
