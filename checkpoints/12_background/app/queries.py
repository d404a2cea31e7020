"""Queries that read products. Their columns are named like the fields of a response."""

from collections.abc import Mapping
from functools import cache
from itertools import chain
from typing import Any

from sqlalchemy import (
    ARRAY,
    JSON,
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


def json_object(**values: Any) -> SQLColumnExpression[Any]:
    """Nested objects are built by the database, so that a row has one column for each field."""
    return func.json_build_object(*chain.from_iterable(values.items()), type_=JSON)


RATING = json_object(average=Product.average_stars, count=Product.review_count)
REVIEW = json_object(
    author=Review.author, stars=Review.stars, body=Review.body, created_at=Review.created_at
)
NEWEST_REVIEWS = (
    select(REVIEW)
    .where(Review.product_id == Product.id)
    .order_by(Review.created_at.desc(), Review.id.desc())
    .limit(5)
    .correlate(Product)
    .scalar_subquery()
)

# The columns of a response, by the names of its fields.
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
    "reviews": func.array(NEWEST_REVIEWS, type_=ARRAY(JSON)),
}

ORDER_BY: dict[Sort, tuple[UnaryExpression[Any], UnaryExpression[Any]]] = {
    "newest": (Product.created_at.desc(), Product.id.desc()),
    "price": (Product.price_cents.asc(), Product.id.asc()),
    "-price": (Product.price_cents.desc(), Product.id.desc()),
    "rating": (Product.average_stars.desc().nulls_last(), Product.id.desc()),
}

# Built once, with bind parameters: a query costs the app CPU each time it is built.


@cache
def page_query(in_category: bool, sort: Sort) -> Select[Any]:
    query = filter_category(select_named(SUMMARY), in_category).order_by(*ORDER_BY[sort])
    return query.limit(bindparam("size")).offset(bindparam("start"))


@cache
def count_query(in_category: bool) -> Select[Any]:
    return filter_category(select(func.count().label("total")).select_from(Product), in_category)


@cache
def feed_query(in_category: bool, after_cursor: bool) -> Select[Any]:
    query = filter_category(select_named(SUMMARY), in_category).order_by(*ORDER_BY["newest"])
    if after_cursor:
        last = tuple_(bindparam("created_at"), bindparam("id"))
        query = query.where(tuple_(Product.created_at, Product.id) < last)
    return query.limit(bindparam("size"))


def select_named(chosen: Mapping[str, SQLColumnExpression[Any]]) -> Select[Any]:
    labelled = (label(name, column) for name, column in chosen.items())
    return select(*labelled).join_from(Product, Seller)


def filter_category(query: Select[Any], in_category: bool) -> Select[Any]:
    return query.where(Product.category == bindparam("category")) if in_category else query


STOCK = select(Product.id.label("product_id"), Product.stock).where(Product.id == bindparam("id"))
# The ids are one array, whatever their number: the statement stays the same and stays prepared.
DETAILS = select_named(DETAIL).where(Product.id == func.any(bindparam("ids", type_=ARRAY(Integer))))
