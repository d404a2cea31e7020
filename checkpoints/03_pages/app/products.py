"""Products: lists, details, stock, and the changes their seller makes."""

from collections.abc import Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from fastapi_pagination.ext.sqlalchemy import paginate
from sqlalchemy import Select, UnaryExpression, select, tuple_
from sqlalchemy.orm import Session, joinedload, load_only, undefer_group
from sqlalchemy.orm.interfaces import ORMOption

from app.cursors import decode_cursor, encode_cursor
from app.database import Database
from app.models import Product, Review, Seller
from app.problems import not_found, problems
from app.schemas import (
    Category,
    Changes,
    Detail,
    Feed,
    Page,
    ProductId,
    ReviewOut,
    SellerCard,
    Sort,
    Stock,
    Summary,
)

router = APIRouter(prefix="/products", tags=["products"])

SUMMARY = (
    load_only(Product.name, Product.category, Product.price_cents, Product.created_at),
    joinedload(Product.seller, innerjoin=True).load_only(Seller.name),
    undefer_group("rating"),
)
DETAIL = (joinedload(Product.seller, innerjoin=True), undefer_group("rating"))

ORDER_BY: dict[Sort, tuple[UnaryExpression[Any], UnaryExpression[Any]]] = {
    "newest": (Product.created_at.desc(), Product.id.desc()),
    "price": (Product.price_cents.asc(), Product.id.asc()),
    "-price": (Product.price_cents.desc(), Product.id.desc()),
    "rating": (Product.average_stars.desc().nulls_last(), Product.id.desc()),
}


@router.get("", response_model=Page[Summary], responses=problems(422))
def list_products(
    session: Database, category: Category | None = None, sort: Sort = "newest"
) -> Any:
    return paginate(session, products_of(category).order_by(*ORDER_BY[sort]), subquery_count=False)


@router.get("/feed", responses=problems(422))
def feed_products(
    session: Database,
    category: Category | None = None,
    cursor: str | None = None,
    size: Annotated[int, Query(ge=1, le=100)] = 20,
) -> Feed:
    query = products_of(category).order_by(*ORDER_BY["newest"])
    if cursor is not None:
        query = query.where(tuple_(Product.created_at, Product.id) < decode_cursor(cursor))
    products = session.scalars(query.limit(size + 1)).all()  # one more, to see if more follow
    return Feed(
        items=[Summary.model_validate(product) for product in products[:size]],
        next=encode_cursor(products[size - 1]) if len(products) > size else None,
    )


@router.get("/{product_id}", responses=problems(404, 422))
def get_product(product_id: ProductId, session: Database) -> Detail:
    product = find(session, product_id, *DETAIL)
    newest = select(Review).where(Review.product_id == product_id)
    newest = newest.order_by(Review.created_at.desc(), Review.id.desc()).limit(5)
    return detail(product, session.scalars(newest).all())


@router.get("/{product_id}/stock", responses=problems(404, 422))
def get_stock(product_id: ProductId, session: Database) -> Stock:
    product = find(session, product_id, load_only(Product.stock))
    return Stock(product_id=product.id, stock=product.stock)


@router.patch("/{product_id}", responses=problems(400, 404, 422))
def change_product(
    product_id: ProductId, changes: Annotated[Changes, Body(min_length=1)], session: Database
) -> Detail:
    product = find(session, product_id)
    for name, value in changes.items():
        setattr(product, name, value)
    session.commit()
    return get_product(product_id, session)


def products_of(category: Category | None) -> Select[Product]:
    query = select(Product).options(*SUMMARY)
    return query.where(Product.category == category) if category else query


def find(session: Session, product_id: int, *options: ORMOption) -> Product:
    product = session.scalar(select(Product).where(Product.id == product_id).options(*options))
    if product is None:
        raise not_found("product", product_id)
    return product


def detail(product: Product, reviews: Sequence[Review]) -> Detail:
    summary = Summary.model_validate(product)
    return Detail(
        **summary.model_dump(exclude={"seller"}),
        description=product.description,
        seller=SellerCard.model_validate(product.seller),
        reviews=[ReviewOut.model_validate(review) for review in reviews],
    )
