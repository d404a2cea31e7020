"""Products: lists, details, stock, and the changes their seller makes."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi_pagination import Params
from fastapi_pagination.api import create_page, resolve_params
from sqlalchemy import Executable

from app.cursors import cursor_after, place
from app.database import Database, rows
from app.models import Product
from app.problems import no_such, problems
from app.queries import DETAIL, STOCK, count_of, detail_of, feed_of, page_of
from app.schemas import Category, Changes, Feed, Page, Picked, ProductId, Sort, Stock, Summary

router = APIRouter(prefix="/products", tags=["products"])

FIELD = f"({'|'.join(DETAIL)})"
Fields = Annotated[
    str,
    Query(max_length=100, pattern=f"^{FIELD}(,{FIELD})*$", description="The fields you want."),
]


@router.get("", response_model=Page[Summary], responses=problems(422))
async def list_products(category: Category | None = None, sort: Sort = "newest") -> Any:
    params: Params = resolve_params()
    cut = params.to_raw_params().as_limit_offset()
    values = {"category": category, "start": cut.offset, "size": cut.limit}
    total = await rows(count_of(category is not None), values)
    found = await rows(page_of(category is not None, sort), values)
    items = [row._asdict() for row in found]
    return create_page(items, total=total[0].total, params=params)


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


@router.get("/{product_id}", response_model=Picked, responses=problems(404, 422))
async def get_product(product_id: ProductId, fields: Fields = ",".join(DETAIL)) -> Any:
    return await find(detail_of(fields), product_id)


@router.get("/{product_id}/stock", response_model=Stock, responses=problems(404, 422))
async def get_stock(product_id: ProductId) -> Any:
    return await find(STOCK, product_id)


@router.patch("/{product_id}", response_model=Picked, responses=problems(400, 404, 422))
async def change_product(
    product_id: ProductId, changes: Annotated[Changes, Body(min_length=1)], session: Database
) -> Any:
    product = await session.get(Product, product_id)
    if product is None:
        raise no_such("product", product_id)
    for name, value in changes.items():
        setattr(product, name, value)
    await session.commit()
    return await get_product(product_id)


async def find(query: Executable, product_id: int) -> dict[str, Any]:
    found = await rows(query, {"id": product_id})
    if not found:
        raise no_such("product", product_id)
    return found[0]._asdict()
