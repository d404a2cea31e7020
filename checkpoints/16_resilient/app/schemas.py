"""The bodies of requests and responses."""

from datetime import datetime
from typing import Annotated, Literal

from fastapi import Path, Query
from fastapi_pagination import Page as LibraryPage
from fastapi_pagination.customization import CustomizedPage, UseName, UseParamsFields
from pydantic import BaseModel, ConfigDict, EmailStr, Field, with_config
from typing_extensions import TypedDict  # typing's own lacks what Pydantic needs before 3.12

Category = Literal[
    "books", "music", "films", "games", "toys", "garden", "kitchen", "furniture", "lighting",
    "tools", "cameras", "phones", "laptops", "audio", "watches", "shoes", "coats", "bags",
    "sports", "outdoors",
]  # fmt: skip
Sort = Literal["newest", "price", "-price", "rating"]

# The ranges of PostgreSQL's integer and bigint: an id outside them cannot exist.
ProductId = Annotated[int, Path(ge=1, le=2**31 - 1)]
RowId = Annotated[int, Path(ge=1, le=2**63 - 1)]

# The library's page, within our bounds and with our default size.
Page = CustomizedPage[
    LibraryPage,
    UseName("Page"),
    UseParamsFields(page=Query(1, ge=1, le=1_000_000), size=Query(20, ge=1, le=100)),
]


class Out(BaseModel):
    """A response made from the attributes of an ORM object."""

    model_config = ConfigDict(from_attributes=True)


class SellerName(Out):
    id: int
    name: str


class SellerCard(SellerName):
    country: str


class Rating(Out):
    average: float | None
    count: int


class ReviewOut(Out):
    author: str
    stars: int
    body: str
    created_at: datetime


class Summary(Out):
    id: int
    name: str
    category: Category
    price_cents: int
    seller: SellerName
    rating: Rating
    created_at: datetime


class Picked(TypedDict, total=False):
    """A product's detail, or only those `fields` that the client asks for."""

    id: int
    name: str
    category: Category
    price_cents: int
    seller: SellerCard
    rating: Rating
    created_at: datetime
    description: str
    reviews: list[ReviewOut]


class Feed(BaseModel):
    items: list[Summary]
    next: str | None


class Stock(BaseModel):
    product_id: int
    stock: int


@with_config(ConfigDict(extra="forbid", json_schema_extra={"minProperties": 1}))
class Changes(TypedDict, total=False):
    """The fields of a product that can change. A field left out stays as it is."""

    price_cents: Annotated[int, Field(strict=True, ge=1, le=100_000_000)]
    # PostgreSQL's text holds every character except NUL.
    description: Annotated[str, Field(min_length=1, max_length=5000, pattern=r"^[^\x00]*$")]


class Quote(BaseModel):
    """A partner's answer. Shoppers see its price, so an invalid one is no offer."""

    model_config = ConfigDict(strict=True)  # neither "99" nor true is a number

    price_cents: int = Field(ge=1, le=100_000_000)
    delivery_days: int = Field(ge=0, le=365)


class Offer(BaseModel):
    partner: str
    price_cents: int
    delivery_days: int


class Offers(BaseModel):
    product_id: int
    offers: list[Offer]
    missing: list[str]


class NewOrder(BaseModel):
    model_config = ConfigDict(extra="forbid")

    product_id: int = Field(strict=True, ge=1, le=2**31 - 1)
    quantity: int = Field(strict=True, ge=1, le=10)
    customer: EmailStr


class OrderOut(Out):
    id: int
    product_id: int
    quantity: int
    unit_price_cents: int
    total_cents: int
    customer: str
    created_at: datetime


class NewReport(BaseModel):
    model_config = ConfigDict(extra="forbid")

    category: Category


class ReportStatus(Out):
    id: int
    status: Literal["pending", "running", "done", "failed"]


class AverageOrder(BaseModel):
    value: int
    low: int
    high: int


class TopProduct(BaseModel):
    product_id: int
    units: int
    revenue_cents: int


class Sales(BaseModel):
    category: Category
    orders: int
    units: int
    revenue_cents: int
    average_order_cents: AverageOrder | None
    top_products: list[TopProduct]


class ReportOut(ReportStatus):
    result: Sales | None


class Health(BaseModel):
    status: Literal["ok"]


class Readiness(BaseModel):
    status: Literal["ready"]
    checks: dict[str, str]
