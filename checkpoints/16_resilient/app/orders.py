"""Orders: a sale takes stock, and never more than there is."""

from typing import Annotated

from fastapi import APIRouter, Header, HTTPException, Response
from sqlalchemy import select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import load_only

from app.database import Database
from app.jobs.queue import enqueue
from app.models import Order, Product
from app.problems import not_found, problems
from app.schemas import NewOrder, OrderOut, RowId

router = APIRouter(prefix="/orders", tags=["orders"])

# The client's name for one attempt to buy. With it, the client can safely send the order again.
IdempotencyKey = Annotated[str | None, Header(min_length=1, max_length=255, pattern=r"^[!-~]+$")]


@router.post("", status_code=201, responses=problems(400, 404, 409, 422))
async def place_order(
    new: NewOrder, response: Response, session: Database, idempotency_key: IdempotencyKey = None
) -> OrderOut:
    # The lock makes other buyers of this product wait here until we commit.
    product = await session.scalar(
        select(Product)
        .where(Product.id == new.product_id)
        .options(load_only(Product.price_cents, Product.stock))
        .with_for_update()
    )
    if product is None:
        raise not_found("product", new.product_id)
    order = await find_earlier_order(session, new, idempotency_key)
    if order is None:
        if product.stock < new.quantity:
            raise HTTPException(409, f"Only {product.stock} left. Order fewer, or something else.")
        product.stock -= new.quantity
        order = Order(
            product_id=product.id,
            quantity=new.quantity,
            unit_price_cents=product.price_cents,
            total_cents=product.price_cents * new.quantity,
            customer=new.customer,
            idempotency_key=idempotency_key,
        )
        session.add(order)
        try:
            await session.flush()  # now it has an id
            await enqueue(session, "confirm_order", order_id=order.id)
            await session.commit()
        except IntegrityError:  # meanwhile the key has bought another product
            raise key_reused() from None
    await session.close()
    response.headers["Location"] = f"/orders/{order.id}"
    return OrderOut.model_validate(order)


@router.get("/{order_id}", responses=problems(404, 422))
async def get_order(order_id: RowId, session: Database) -> OrderOut:
    order = await session.get(Order, order_id)
    if order is None:
        raise not_found("order", order_id)
    await session.close()
    return OrderOut.model_validate(order)


async def find_earlier_order(session: AsyncSession, new: NewOrder, key: str | None) -> Order | None:
    """The order that an earlier request made with this key. It must have been the same request."""
    if key is None:
        return None
    order = await session.scalar(select(Order).where(Order.idempotency_key == key))
    if order and (order.product_id, order.quantity, order.customer) != (
        new.product_id,
        new.quantity,
        new.customer,
    ):
        raise key_reused()
    return order


def key_reused() -> HTTPException:
    return HTTPException(422, "This Idempotency-Key made another order. Use a new key.")
