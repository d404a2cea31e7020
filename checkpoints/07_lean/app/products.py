"""Products: lists, details, stock, and the changes their seller makes."""

from collections.abc import Mapping
from functools import cache, lru_cache
from itertools import chain
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi_pagination.api import create_page, resolve_params
from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Select,
    UnaryExpression,
    bindparam,
    func,
    select,
    tuple_,
)

from app.cursors import cursor_after, place
from app.database import Database, rows
from app.models import Product, Review, Seller
from app.problems import no_such, problems
from app.schemas import Category, Changes, Feed, Page, Picked, ProductId, Sort, Stock, Summary

router = APIRouter(prefix="/products", tags=["products"])


def json_object(**values: Any) -> ColumnElement[Any]:
    """What an answer nests, the database builds: so a row has one column for each field."""
    return func.json_build_object(*chain.from_iterable(values.items()), type_=JSON)


RATING = json_object(average=Product.average_stars, count=Product.review_count)
REVIEW = json_object(
    author=Review.author, stars=Review.stars, body=Review.body, created_at=Review.created_at
)
NEWEST = (
    select(REVIEW)
    .where(Review.product_id == Product.id)
    .order_by(Review.created_at.desc(), Review.id.desc())
    .limit(5)
    .correlate(Product)
    .scalar_subquery()
)

# What an answer is made of, by the names of its fields.
SUMMARY: dict[str, ColumnElement[Any]] = {
    "id": Product.id,
    "name": Product.name,
    "category": Product.category,
    "price_cents": Product.price_cents,
    "seller": json_object(id=Seller.id, name=Seller.name),
    "rating": RATING,
    "created_at": Product.created_at,
}
DETAIL = SUMMARY | {
    "seller": json_object(id=Seller.id, name=Seller.name, country=Seller.country),
    "description": Product.description,
    "reviews": func.array(NEWEST, type_=ARRAY(JSON)),
}
FIELD = f"({'|'.join(DETAIL)})"
Fields = Annotated[
    str,
    Query(max_length=100, pattern=f"^{FIELD}(,{FIELD})*$", description="The fields you want."),
]

ORDERS: dict[Sort, tuple[UnaryExpression[Any], UnaryExpression[Any]]] = {
    "newest": (Product.created_at.desc(), Product.id.desc()),
    "price": (Product.price_cents.asc(), Product.id.asc()),
    "-price": (Product.price_cents.desc(), Product.id.desc()),
    "rating": (Product.average_stars.desc().nulls_last(), Product.id.desc()),
}


@router.get("", response_model=Page[Summary], responses=problems(422))
async def list_products(category: Category | None = None, sort: Sort = "newest") -> Any:
    params = resolve_params()
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


async def find(query: Select[Any], product_id: int) -> dict[str, Any]:
    found = await rows(query, {"id": product_id})
    if not found:
        raise no_such("product", product_id)
    return found[0]._asdict()


# Queries are built once, with places for their values. To put one together takes SQLAlchemy longer
# than to send it; one that it has met before, it need not even look at.


@cache
def page_of(within: bool, sort: Sort) -> Select[Any]:
    query = of_category(columns(SUMMARY), within).order_by(*ORDERS[sort])
    return query.limit(bindparam("size")).offset(bindparam("start"))


@cache
def count_of(within: bool) -> Select[Any]:
    return of_category(select(func.count().label("total")).select_from(Product), within)


@cache
def feed_of(within: bool, onwards: bool) -> Select[Any]:
    query = of_category(columns(SUMMARY), within).order_by(*ORDERS["newest"])
    if onwards:
        last = tuple_(bindparam("created_at"), bindparam("id"))
        query = query.where(tuple_(Product.created_at, Product.id) < last)
    return query.limit(bindparam("size"))


@lru_cache(1000)
def detail_of(fields: str) -> Select[Any]:
    chosen = {name: column for name, column in DETAIL.items() if name in fields.split(",")}
    return columns(chosen).where(Product.id == bindparam("id"))


def columns(chosen: Mapping[str, ColumnElement[Any]]) -> Select[Any]:
    labelled = (column.label(name) for name, column in chosen.items())
    return select(*labelled).join_from(Product, Seller)


def of_category(query: Select[Any], within: bool) -> Select[Any]:
    return query.where(Product.category == bindparam("category")) if within else query


STOCK = select(Product.id.label("product_id"), Product.stock).where(Product.id == bindparam("id"))
