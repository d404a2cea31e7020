"""Orders: a sale takes stock, and never more than there is."""

from typing import Annotated

from fastapi import APIRouter, Header, Request, Response

from app.database import Database
from app.models import Order
from app.problems import not_found, problems
from app.sale.purchases import Purchase
from app.sale.transaction import sales
from app.schemas import NewOrder, OrderOut, RowId

router = APIRouter(prefix="/orders", tags=["orders"])

# The client's name for one attempt to buy. With it, the client can safely send the order again.
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[!-~]+$")]


# Most orders do not come here: see app/sale/middleware.py.
@router.post("", status_code=201, responses=problems(400, 404, 409, 422))
async def place_order(
    new: NewOrder, request: Request, response: Response, idempotency_key: IdempotencyKey = None
) -> OrderOut:
    if failed := request.scope.get("sale_error"):
        raise failed  # asking again could sell twice
    purchase = Purchase(new.product_id, new.quantity, new.customer, idempotency_key)
    order = await sales.load(purchase)
    response.headers["Location"] = f"/orders/{order.id}"
    return OrderOut.model_validate(order)


@router.get("/{order_id}", responses=problems(404, 422))
async def get_order(order_id: RowId, session: Database) -> OrderOut:
    order = await session.get(Order, order_id)
    if order is None:
        raise not_found("order", order_id)
    await session.close()
    return OrderOut.model_validate(order)
