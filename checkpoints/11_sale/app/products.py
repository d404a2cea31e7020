"""Products: lists, details, stock, and the changes their seller makes."""

from functools import partial
from typing import Annotated, Any, get_args

import orjson
from fastapi import APIRouter, Body, Query, Request, Response
from fastapi_pagination import Params
from fastapi_pagination.api import create_page, resolve_params
from sqlalchemy import Executable, update

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
from app.cursors import decode_cursor, encode_cursor
from app.database import Database, fetch_all
from app.models import Product
from app.problems import not_found, problems
from app.queries import DETAIL, STOCK, count_query, feed_query, page_query
from app.schemas import Category, Changes, Feed, Page, Picked, ProductId, Sort, Stock, Summary

router = APIRouter(prefix="/products", tags=["products"])

# Most shoppers see the first pages, in the default size. The others are too many to cache.
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
    params: Params = resolve_params()
    fetch = partial(fetch_page, category, sort, params)
    if params.page in CACHED_PAGES and params.size == CACHED_PAGE_SIZE:
        cache_key = page_key(category, sort, params.page)
        found = await tiers.get(cache_key, fetch, bypasses_cache(dict(request.scope["headers"])))
        return respond(request, cache_key, *found)
    return conditional_response(request, CachedResponse(await fetch()), "miss")


async def fetch_page(category: Category | None, sort: Sort, params: Params) -> bytes:
    values = {"category": category, "start": (params.page - 1) * params.size, "size": params.size}
    total = await fetch_all(count_query(category is not None), values)
    rows = await fetch_all(page_query(category is not None, sort), values)
    items = [row._asdict() for row in rows]
    return create_page(items, total=total[0].total, params=params).model_dump_json().encode()


@router.get("/feed", response_model=Feed, responses=problems(422))
async def feed_products(
    category: Category | None = None,
    cursor: str | None = None,
    size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Any:
    query = feed_query(category is not None, cursor is not None)
    created_at, id = decode_cursor(cursor) if cursor is not None else (None, None)
    values = {"category": category, "created_at": created_at, "id": id, "size": size + 1}
    rows = await fetch_all(query, values)  # one more, to see if more follow
    return {
        "items": [row._asdict() for row in rows[:size]],
        "next": encode_cursor(rows[size - 1]) if len(rows) > size else None,
    }


@router.get("/{product_id}", response_model=Picked, responses=NOT_MODIFIED | problems(404, 422))
async def get_product(request: Request, product_id: ProductId, fields: Fields = ALL) -> Response:
    if failed := request.scope.get("lookup_error"):
        raise failed  # asking again would not help
    cached, status = await details.get(product_id, bypasses_cache(dict(request.scope["headers"])))
    if cached.body == NEGATIVE_ENTRY:
        raise not_found("product", product_id)
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
        raise not_found("product", product_id)
    transaction = await session.scalar(
        update(Product).where(Product.id == product_id).values(**changes).returning(TRANSACTION_ID),
        execution_options={"synchronize_session": False},
    )
    changed = details.key_of(product_id), *affected_page_keys(product.category)
    try:
        await session.commit()
    except BaseException:  # after an error or a cancellation, it may still be committed
        in_doubt[transaction] = changed
        raise
    finally:
        await tiers.invalidate(*changed)
    response = full_response(*await details.get(product_id))
    set_read_your_writes_cookie(response)
    return response


def select_fields(body: bytes, fields: str) -> bytes:
    """Select fields of a detail. It is cached once as a whole, not once for every selection."""
    detail = orjson.loads(body)
    chosen = fields.split(",")
    return orjson.dumps({name: value for name, value in detail.items() if name in chosen})


def page_key(category: str | None, sort: Sort, page: int) -> str:
    return key("page", category, sort, page)


def affected_page_keys(category: str) -> list[str]:
    """The keys of all cached pages that may list a product of this category."""
    return [
        page_key(listed_in, sort, page)
        for listed_in in (category, None)
        for sort in get_args(Sort)
        for page in CACHED_PAGES
    ]


async def find(query: Executable, product_id: int) -> dict[str, Any]:
    rows = await fetch_all(query, {"id": product_id})
    if not rows:
        raise not_found("product", product_id)
    return rows[0]._asdict()
