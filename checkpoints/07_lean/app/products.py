"""Products: lists, details, stock, and the changes their seller makes."""

from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi_pagination import Params
from fastapi_pagination.api import create_page, resolve_params
from sqlalchemy import Executable

from app.cursors import decode_cursor, encode_cursor
from app.database import Database, fetch_all
from app.models import Product
from app.problems import not_found, problems
from app.queries import DETAIL, STOCK, count_query, detail_query, feed_query, page_query
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
    values = {"category": category, "start": (params.page - 1) * params.size, "size": params.size}
    total = await fetch_all(count_query(category is not None), values)
    rows = await fetch_all(page_query(category is not None, sort), values)
    items = [row._asdict() for row in rows]
    return create_page(items, total=total[0].total, params=params)


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


@router.get("/{product_id}", response_model=Picked, responses=problems(404, 422))
async def get_product(product_id: ProductId, fields: Fields = ",".join(DETAIL)) -> Any:
    return await find(detail_query(fields), product_id)


@router.get("/{product_id}/stock", response_model=Stock, responses=problems(404, 422))
async def get_stock(product_id: ProductId) -> Any:
    return await find(STOCK, product_id)


@router.patch("/{product_id}", response_model=Picked, responses=problems(400, 404, 422))
async def change_product(
    product_id: ProductId, changes: Annotated[Changes, Body(min_length=1)], session: Database
) -> Any:
    product = await session.get(Product, product_id)
    if product is None:
        raise not_found("product", product_id)
    for name, value in changes.items():
        setattr(product, name, value)
    await session.commit()
    return await get_product(product_id)


async def find(query: Executable, product_id: int) -> dict[str, Any]:
    rows = await fetch_all(query, {"id": product_id})
    if not rows:
        raise not_found("product", product_id)
    return rows[0]._asdict()
