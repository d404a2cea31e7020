"""Products: lists, details, stock, and the changes their seller makes."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any

from fastapi import APIRouter, Body, Query
from sqlalchemy import select
from sqlalchemy.orm import Session, selectinload

from app.database import Database
from app.models import Product, Review
from app.problems import not_found, problems
from app.schemas import (
    Category,
    Changes,
    Detail,
    Page,
    ProductId,
    ReviewOut,
    SellerCard,
    Sort,
    Stock,
    Summary,
)

router = APIRouter(prefix="/products", tags=["products"])

# What each sort order compares, and whether it is reversed.
SORT_KEYS: dict[Sort, tuple[Callable[[Product], Any], bool]] = {
    "newest": (lambda product: (product.created_at, product.id), True),
    "price": (lambda product: (product.price_cents, product.id), False),
    "-price": (lambda product: (product.price_cents, product.id), True),
    "rating": (lambda product: (product.rating["average"] or 0, product.id), True),
}


@router.get("", responses=problems(422))
def list_products(
    session: Database,
    category: Category | None = None,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    size: Annotated[int, Query(ge=1, le=100)] = 20,
    sort: Sort = "newest",
) -> Page:
    query = select(Product)
    if category:
        query = query.where(Product.category == category)
    if sort == "rating":
        query = query.options(selectinload(Product.reviews))
    key, reverse = SORT_KEYS[sort]
    products = sorted(session.scalars(query), key=key, reverse=reverse)
    start = (page - 1) * size
    return Page(
        items=[Summary.model_validate(product) for product in products[start : start + size]],
        total=len(products),
        page=page,
        size=size,
        pages=-(-len(products) // size),
    )


@router.get("/{product_id}", responses=problems(404, 422))
def get_product(product_id: ProductId, session: Database) -> Detail:
    product = find(session, product_id)
    return detail(product, product.reviews[:5])


@router.get("/{product_id}/stock", responses=problems(404, 422))
def get_stock(product_id: ProductId, session: Database) -> Stock:
    product = find(session, product_id)
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


def find(session: Session, product_id: int) -> Product:
    product = session.get(Product, product_id)
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
