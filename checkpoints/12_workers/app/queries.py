"""The queries of who reads products: columns named like the fields of an answer."""

from collections.abc import Mapping
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
    ColumnElement,
    Integer,
    Select,
    SQLColumnExpression,
    UnaryExpression,
    bindparam,
    func,
    label,
    select,
    tuple_,
)

from app.models import Product, Review, Seller
from app.schemas import Sort


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
SUMMARY: dict[str, SQLColumnExpression[Any]] = {
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

ORDERS: dict[Sort, tuple[UnaryExpression[Any], UnaryExpression[Any]]] = {
    "newest": (Product.created_at.desc(), Product.id.desc()),
    "price": (Product.price_cents.asc(), Product.id.asc()),
    "-price": (Product.price_cents.desc(), Product.id.desc()),
    "rating": (Product.average_stars.desc().nulls_last(), Product.id.desc()),
}

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


def columns(chosen: Mapping[str, SQLColumnExpression[Any]]) -> Select[Any]:
    labelled = (label(name, column) for name, column in chosen.items())
    return select(*labelled).join_from(Product, Seller)


def of_category(query: Select[Any], within: bool) -> Select[Any]:
    return query.where(Product.category == bindparam("category")) if within else query


STOCK = select(Product.id.label("product_id"), Product.stock).where(Product.id == bindparam("id"))
# A list of ids is one value, whatever its length: the statement stays the same and stays prepared.
DETAILS = columns(DETAIL).where(Product.id == func.any(bindparam("ids", type_=ARRAY(Integer))))
