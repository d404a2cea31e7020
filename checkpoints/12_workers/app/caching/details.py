"""Details: all that are looked up in one turn of the loop take one statement."""

from functools import partial

from pydantic import TypeAdapter, ValidationError

from app.caching import tiers
from app.caching.memory import Answer
from app.caching.redis import NOTHING, key
from app.data_loader import Batch
from app.database import rows
from app.queries import DETAILS
from app.schemas import Picked

DETAIL_JSON = TypeAdapter(Picked)


def key_of(product_id: int) -> str:
    return key("product", product_id)


async def get(product_id: int, fresh: bool = False) -> tuple[Answer, tiers.Found]:
    return await tiers.get(key_of(product_id), partial(lookups.ask, product_id), fresh)


async def look_up(ids: list[int]) -> list[bytes | ValidationError]:
    """The details of these products, in their order; NOTHING where there is no such product."""
    found = {row.id: row._asdict() for row in await rows(DETAILS, {"ids": ids})}
    return [to_json(found[id]) if id in found else NOTHING for id in ids]


def to_json(detail: dict[str, object]) -> bytes | ValidationError:
    try:
        return DETAIL_JSON.dump_json(DETAIL_JSON.validate_python(detail))
    except ValidationError as error:
        return error  # a row that does not fit: for who asked for it, not for the whole batch


lookups = Batch(look_up)
