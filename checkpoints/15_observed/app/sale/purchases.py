"""Who gets what: decided caller by caller, in the order in which they came."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from fastapi import HTTPException
from sqlalchemy import Row

from app.problems import not_found
from app.telemetry import tracing

OrderRow = Row[Any]


@dataclass(eq=False, slots=True)
class Purchase:
    """What one caller wants to buy."""

    product_id: int
    quantity: int
    customer: str
    idempotency_key: str | None
    traceparent: str | None = field(default_factory=tracing.current_traceparent)
    """For the job that confirms the order."""


def decide(
    purchases: Sequence[Purchase], stock: Mapping[int, int], earlier: Mapping[str | None, OrderRow]
) -> list[Purchase | OrderRow | HTTPException]:
    """For each, a purchase that is to be made, an order that was made before, or a refusal.

    Whoever repeats a key of the same batch gets the purchase of the one who came first.

    Args:
        purchases: what the callers want.
        stock: how much there is of each product that exists.
        earlier: the orders that their keys have made before.
    """
    left = dict(stock)
    made: dict[str | None, Purchase | OrderRow] = {**earlier}
    decisions: list[Purchase | OrderRow | HTTPException] = []
    for purchase in purchases:
        id, key = purchase.product_id, purchase.idempotency_key
        if id not in left:
            decisions.append(not_found("product", id))
        elif key in made:
            decisions.append(made[key] if is_same(made[key], purchase) else key_reused())
        elif left[id] < purchase.quantity:
            decisions.append(sold_out(left[id]))
        else:
            left[id] -= purchase.quantity
            if key is not None:
                made[key] = purchase
            decisions.append(purchase)
    return decisions


def is_same(one: Purchase | OrderRow, other: Purchase) -> bool:
    return (one.product_id, one.quantity, one.customer) == (
        other.product_id,
        other.quantity,
        other.customer,
    )


def sold_out(left: int) -> HTTPException:
    return HTTPException(409, f"Only {left} left. Order fewer, or something else.")


def key_reused() -> HTTPException:
    return HTTPException(422, "This Idempotency-Key made another order. Use a new key.")
