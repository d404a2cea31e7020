"""Products: lists, details, stock, and the changes their seller makes."""

from functools import partial
from typing import Annotated, Any, get_args

import orjson
from fastapi import APIRouter, Body, Query, Request, Response
from fastapi_pagination.api import create_page, resolve_params
from fastapi_pagination.bases import AbstractParams
from sqlalchemy import Select, update

from app.caching import details, tiers
from app.caching.in_doubt import TRANSACTION_ID, in_doubt
from app.caching.memory import CachedResponse
from app.caching.middleware import (
    NOT_MODIFIED,
    bypasses_cache,
    conditional_response,
    full_response,
    respond,
    set_read_your_writes_cookie,
)
from app.caching.redis import NEGATIVE_ENTRY, key
from app.cursors import cursor_after, place
from app.database import Database, rows
from app.models import Product
from app.problems import no_such, problems
from app.queries import DETAIL, STOCK, count_of, feed_of, page_of
from app.schemas import Category, Changes, Feed, Page, Picked, ProductId, Sort, Stock, Summary

router = APIRouter(prefix="/products", tags=["products"])

# Most shoppers see the first pages, as they come. Of all others there are too many to cache.
CACHED_PAGES = range(1, 6)
CACHED_PAGE_SIZE = 20

ALL = ",".join(DETAIL)
FIELD = f"({'|'.join(DETAIL)})"
Fields = Annotated[
    str,
    Query(max_length=100, pattern=f"^{FIELD}(,{FIELD})*$", description="The fields you want."),
]


@router.get("", response_model=Page[Summary], responses=NOT_MODIFIED | problems(422))
async def list_products(
    request: Request, category: Category | None = None, sort: Sort = "newest"
) -> Response:
    params = resolve_params()
    fetch = partial(fetch_page, category, sort, params)
    if params.page in CACHED_PAGES and params.size == CACHED_PAGE_SIZE:
        cache_key = page_key(category, sort, params.page)
        found = await tiers.get(cache_key, fetch, bypasses_cache(request.scope))
        return respond(request, cache_key, *found)
    return conditional_response(request, CachedResponse(await fetch()), "miss")


async def fetch_page(category: Category | None, sort: Sort, params: AbstractParams) -> bytes:
    cut = params.to_raw_params().as_limit_offset()
    values = {"category": category, "start": cut.offset, "size": cut.limit}
    total = await rows(count_of(category is not None), values)
    found = await rows(page_of(category is not None, sort), values)
    items = [row._asdict() for row in found]
    return create_page(items, total=total[0].total, params=params).model_dump_json().encode()


@router.get("/feed", response_model=Feed, responses=problems(422))
async def feed_products(
    category: Category | None = None,
    cursor: str | None = None,
    size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Any:
    query = feed_of(category is not None, cursor is not None)
    created_at, id = place(cursor) if cursor is not None else (None, None)
    values = {"category": category, "created_at": created_at, "id": id, "size": size + 1}
    found = await rows(query, values)  # the one more tells whether to go on
    return {
        "items": [row._asdict() for row in found[:size]],
        "next": cursor_after(found[size - 1]) if len(found) > size else None,
    }


@router.get("/{product_id}", response_model=Picked, responses=NOT_MODIFIED | problems(404, 422))
async def get_product(request: Request, product_id: ProductId, fields: Fields = ALL) -> Response:
    if error := request.scope.get("lookup_error"):
        raise error  # a second look-up would fail, too
    cached, status = await details.get(product_id, bypasses_cache(request.scope))
    if cached.body == NEGATIVE_ENTRY:
        raise no_such("product", product_id)
    if fields != ALL:
        cached = CachedResponse(select_fields(cached.body, fields))
        return conditional_response(request, cached, status)
    return respond(request, details.key_of(product_id), cached, status)


@router.get("/{product_id}/stock", response_model=Stock, responses=problems(404, 422))
async def get_stock(product_id: ProductId) -> Any:
    return await find(STOCK, product_id)


@router.patch("/{product_id}", response_model=Picked, responses=problems(400, 404, 422))
async def change_product(
    product_id: ProductId, changes: Annotated[Changes, Body(min_length=1)], session: Database
) -> Response:
    product = await session.get(Product, product_id)
    if product is None:
        raise no_such("product", product_id)
    transaction = await session.scalar(
        update(Product).where(Product.id == product_id).values(**changes).returning(TRANSACTION_ID),
        execution_options={"synchronize_session": False},
    )
    changed = details.key_of(product_id), *pages_with(product.category)
    try:
        await session.commit()
    except BaseException:  # an error or a cancellation does not say that it was not committed
        in_doubt[transaction] = changed
        raise
    finally:
        await tiers.invalidate(*changed)
    response = full_response(*await details.get(product_id))
    set_read_your_writes_cookie(response)
    return response


def select_fields(body: bytes, fields: str) -> bytes:
    """Some fields of a detail. It is cached once, with all fields, not once for every choice."""
    detail = orjson.loads(body)
    chosen = fields.split(",")
    return orjson.dumps({name: value for name, value in detail.items() if name in chosen})


def page_key(category: Category | None, sort: Sort, page: int) -> str:
    return key("page", category, sort, page)


def pages_with(category: Category) -> list[str]:
    """The keys of all cached pages that may show a product of this category."""
    return [
        page_key(within, sort, page)
        for within in (category, None)
        for sort in get_args(Sort)
        for page in CACHED_PAGES
    ]


async def find(query: Select[Any], product_id: int) -> dict[str, Any]:
    found = await rows(query, {"id": product_id})
    if not found:
        raise no_such("product", product_id)
    return found[0]._asdict()
