"""Orders in the usual form are placed before the framework routes and validates; others after."""

import re

from fastapi import HTTPException, Request
from pydantic import ValidationError
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.orders import place_order
from app.problems import on_http_error
from app.sale.purchases import Purchase
from app.sale.transaction import sales
from app.schemas import NewOrder, OrderOut
from app.telemetry import tracing

KEY = re.compile(rb"[!-~]{1,255}")
LONGEST_BODY = 1000
ROUTE = Route("/orders", endpoint=place_order, methods=["POST"])


class OrderMiddleware:
    """It places an order, or leaves it to the endpoint, which says what is wrong with it."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != "/orders":
            await self.app(scope, receive, send)
            return
        message = await receive()
        purchase = parse(scope, message)
        if purchase is None:
            await self.app(scope, replay(message, receive), send)
            return
        scope["route"] = ROUTE  # for the metrics
        tracing.name_request(f"POST {ROUTE.path_format}")
        try:
            order = OrderOut.model_validate(await sales.load(purchase))
        except HTTPException as error:
            refusal = await on_http_error(Request(scope), error)
            await refusal(scope, receive, send)
            return
        except Exception as error:
            scope["sale_error"] = error  # the endpoint raises it: handlers there make the response
            await self.app(scope, replay(message, receive), send)
            return
        body = order.model_dump_json().encode()
        headers = [
            (b"content-type", b"application/json"),
            (b"content-length", b"%d" % len(body)),
            (b"location", b"/orders/%d" % order.id),
        ]
        await send({"type": "http.response.start", "status": 201, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def parse(scope: Scope, message: Message) -> Purchase | None:
    """The purchase, if all of it is there, valid, and in the usual form."""
    headers = dict(scope["headers"])
    key = headers.get(b"idempotency-key")
    if (
        message["type"] != "http.request"
        or message["more_body"]
        or len(message["body"]) > LONGEST_BODY
        or len(headers) < len(scope["headers"])  # one of them is there twice
        or headers.get(b"content-type") != b"application/json"
        or (key is not None and not KEY.fullmatch(key))
    ):
        return None
    try:
        new = NewOrder.model_validate_json(message["body"])
    except ValidationError:
        return None
    return Purchase(new.product_id, new.quantity, new.customer, key.decode() if key else None)


def replay(message: Message, receive: Receive) -> Receive:
    """A `receive` that gives a message again that was received already."""
    messages = [message]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
