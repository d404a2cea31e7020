"""The tables as classes of the ORM."""

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Double, ForeignKey, cast, func, select
from sqlalchemy.dialects.postgresql import JSONB
from sqlalchemy.orm import DeclarativeBase, Mapped, column_property, mapped_column
from sqlalchemy.types import DateTime


class Base(DeclarativeBase):
    type_annotation_map = {datetime: DateTime(timezone=True), dict[str, Any]: JSONB}  # noqa: RUF012


class Seller(Base):
    __tablename__ = "sellers"

    id: Mapped[int] = mapped_column(primary_key=True)
    name: Mapped[str]
    country: Mapped[str]


class Review(Base):
    __tablename__ = "reviews"

    id: Mapped[int] = mapped_column(primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    author: Mapped[str]
    stars: Mapped[int]
    body: Mapped[str]
    created_at: Mapped[datetime]


class Product(Base):
    __tablename__ = "products"

    id: Mapped[int] = mapped_column(primary_key=True)
    seller_id: Mapped[int] = mapped_column(ForeignKey("sellers.id"))
    name: Mapped[str]
    description: Mapped[str]
    category: Mapped[str]
    price_cents: Mapped[int]
    stock: Mapped[int]
    created_at: Mapped[datetime]

    # In a query these are expressions. Read from an object, they raise instead of querying.
    average_stars: Mapped[float | None] = column_property(
        select(cast(func.round(func.avg(Review.stars), 2), Double))
        .where(Review.product_id == id)
        .scalar_subquery(),
        deferred=True,
        group="rating",
        raiseload=True,
    )
    review_count: Mapped[int] = column_property(
        select(func.count()).where(Review.product_id == id).scalar_subquery(),
        deferred=True,
        group="rating",
        raiseload=True,
    )


class Order(Base):
    __tablename__ = "orders"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    product_id: Mapped[int] = mapped_column(ForeignKey("products.id"))
    quantity: Mapped[int]
    unit_price_cents: Mapped[int]
    total_cents: Mapped[int]
    customer: Mapped[str]
    idempotency_key: Mapped[str | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())


class Report(Base):
    __tablename__ = "reports"

    id: Mapped[int] = mapped_column(BigInteger, primary_key=True)
    category: Mapped[str]
    status: Mapped[str]
    result: Mapped[dict[str, Any] | None]
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
