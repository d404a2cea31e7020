"""The transaction: all that were waiting buy together, in three statements."""

import asyncio
from collections.abc import Sequence

from sqlalchemy import text
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from app.database import engine
from app.sale.group_commit import GroupCommit
from app.sale.purchases import OrderRow, Purchase, decide, key_reused
from app.telemetry import tracing

# In the order of the ids: two transactions that lock the same rows in different orders could wait
# for each other for ever (a deadlock).
LOCK_PRODUCTS = text("""
    SELECT id, stock FROM products WHERE id = ANY(:ids) ORDER BY id FOR UPDATE
""")
FIND_EARLIER = text("""
    SELECT id, product_id, quantity, unit_price_cents, total_cents, customer, idempotency_key,
        created_at
    FROM orders WHERE idempotency_key = ANY(:keys)
""")
# An order whose key has just bought another product, in another process, is left out, and takes
# no stock. Keys are inserted in their order, for the same reason as above.
SELL = text("""
    WITH wanted AS MATERIALIZED (
        SELECT nextval('orders_id_seq') AS id, wanted.*, price_cents
        FROM unnest(
            CAST(:products AS int[]), CAST(:quantities AS int[]),
            CAST(:customers AS text[]), CAST(:keys AS text[]), CAST(:traceparents AS text[])
        ) WITH ORDINALITY AS wanted (product_id, quantity, customer, idempotency_key, traceparent,
            place)
        JOIN products ON products.id = product_id
    ), sold AS (
        INSERT INTO orders (id, product_id, quantity, unit_price_cents, total_cents, customer,
            idempotency_key)
        SELECT id, product_id, quantity, price_cents, price_cents * quantity, customer,
            idempotency_key
        FROM wanted ORDER BY idempotency_key
        ON CONFLICT (idempotency_key) DO NOTHING
        RETURNING id, product_id, quantity, unit_price_cents, total_cents, customer, created_at
    ), taken AS (
        UPDATE products SET stock = stock - units
        FROM (SELECT product_id, sum(quantity) AS units FROM sold GROUP BY product_id) AS total
        WHERE products.id = total.product_id
    ), job AS (
        SELECT procrastinate_defer_jobs_v1(ARRAY[(
            'shop', 'confirm_orders', 0, NULL, NULL, jsonb_build_object(
                'order_ids', array_agg(id),
                'traceparents', array_agg(coalesce(traceparent, ''))
            ), NULL
        )::procrastinate_job_to_defer_v1])
        FROM sold JOIN wanted USING (id) HAVING count(*) > 0
    )
    SELECT place, sold.* FROM job CROSS JOIN sold JOIN wanted USING (id)
""")


async def sell(purchases: list[Purchase]) -> Sequence[OrderRow | Exception]:
    """An order for each purchase, or the reason why there is none."""
    try:
        return await sell_together(purchases)
    except IntegrityError:
        # One of them violates a constraint, and PostgreSQL has rolled back all of them.
        return await asyncio.gather(*map(sell_alone, purchases))


async def sell_alone(purchase: Purchase) -> OrderRow | Exception:
    try:
        [order] = await sell_together([purchase])
    except Exception as error:
        return error
    return order


async def sell_together(purchases: Sequence[Purchase]) -> list[OrderRow | Exception]:
    ids = sorted({purchase.product_id for purchase in purchases})
    keys = [purchase.idempotency_key for purchase in purchases if purchase.idempotency_key]
    async with engine.connect() as connection:
        products = await connection.execute(LOCK_PRODUCTS, {"ids": ids})
        stock = {product.id: product.stock for product in products}
        # Only now: whoever had the lock before us may have used the same key.
        found = await connection.execute(FIND_EARLIER, {"keys": keys}) if keys else ()
        earlier = {order.idempotency_key: order for order in found}
        decisions = decide(purchases, stock, earlier)
        # Whoever repeats a key shares the purchase of the first, which is made once.
        wanted = [*dict.fromkeys(one for one in decisions if isinstance(one, Purchase))]
        orders = await make_orders(connection, wanted) if wanted else {}
        with tracing.span("commit"):  # often slowest, since it waits for the disk
            await connection.commit()
    return [
        orders.get(decision) or key_reused() if isinstance(decision, Purchase) else decision
        for decision in decisions
    ]


async def make_orders(
    connection: AsyncConnection, purchases: list[Purchase]
) -> dict[Purchase, OrderRow]:
    columns = {
        "products": [purchase.product_id for purchase in purchases],
        "quantities": [purchase.quantity for purchase in purchases],
        "customers": [purchase.customer for purchase in purchases],
        "keys": [purchase.idempotency_key for purchase in purchases],
        "traceparents": [purchase.traceparent for purchase in purchases],
    }
    orders = await connection.execute(SELL, columns)
    return {purchases[order.place - 1]: order for order in orders}


sales = GroupCommit(sell)
