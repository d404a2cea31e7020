"""Orders in the usual form are placed before the framework routes and validates; others after."""

import re
import time
from typing import Annotated

from fastapi import HTTPException, Request, Response
from pydantic import Field, ValidationError
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from app.logs import choose_request_id
from app.problems import on_http_error
from app.sale.purchases import Purchase
from app.sale.transaction import sales
from app.schemas import NewOrder, OrderOut
from app.telemetry import metrics, tracing
from app.telemetry.middleware import RequestRecord, observe_request

KEY = re.compile(rb"[!-~]{1,255}")
LONGEST_BODY = 1000
ORDERS = "/orders"
# Every address like these is valid. What EmailStr does to judge the others takes a while.
ADDRESS = r"^[a-z0-9]+([._+-][a-z0-9]+)*@([a-z0-9]+(-[a-z0-9]+)*\.)+[a-z]{2,3}$"


class UsualOrder(NewOrder):
    customer: Annotated[str, Field(pattern=ADDRESS, max_length=64)]


class OrderMiddleware:
    """Before the framework: it places an order, or leaves it to the endpoint."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["method"] != "POST" or scope["path"] != ORDERS:
            await self.app(scope, receive, send)
            return
        started = scope["started"] = time.perf_counter()
        request_headers = dict(scope["headers"])
        message = await receive()
        purchase = parse(scope, request_headers, message)
        parent = tracing.ensure_traceparent(scope, request_headers)
        response = await place(scope, purchase, parent) if purchase else None
        if response is None:
            await self.app(scope, replay(message, receive), send)
            return
        request_id = choose_request_id(request_headers.get(b"x-request-id"))
        response.headers["X-Request-ID"] = request_id
        await response(scope, receive, send)
        request = RequestRecord(scope, request_id, parent, started)
        observe_request(request, ORDERS, response.status_code)


def parse(scope: Scope, headers: dict[bytes, bytes], message: Message) -> Purchase | None:
    """The purchase, if the request is valid, complete, and in the usual form."""
    key = headers.get(b"idempotency-key")
    if (
        message["type"] != "http.request"
        or message.get("more_body")
        or len(message["body"]) > LONGEST_BODY
        or len(headers) < len(scope["headers"])  # one of them is there twice
        or headers.get(b"content-type") != b"application/json"
        or (key is not None and not KEY.fullmatch(key))
    ):
        return None
    try:
        new = UsualOrder.model_validate_json(message["body"])
    except ValidationError:
        return None
    return Purchase(new.product_id, new.quantity, new.customer, key.decode() if key else None)


async def place(scope: Scope, purchase: Purchase, parent: bytes) -> Response | None:
    """The order, or why there is none; None if the endpoint has to answer."""
    with tracing.resume_trace(parent, f"POST {ORDERS}"), metrics.active.track_inprogress():
        purchase.traceparent = tracing.current_traceparent() or parent.decode()
        try:
            order = OrderOut.model_validate(await sales.load(purchase))
        except HTTPException as error:
            response = await on_http_error(Request(scope), error)
        except Exception as error:
            scope["sale_error"] = error  # the endpoint raises it: handlers there make the response
            return None
        else:
            headers = {"Location": f"/orders/{order.id}"}
            response = Response(order.model_dump_json(), 201, headers, "application/json")
        tracing.describe_request(ORDERS, response.status_code)
    return response


def replay(message: Message, receive: Receive) -> Receive:
    """A `receive` that first gives a message again."""
    messages = [message]

    async def receive_again() -> Message:
        return messages.pop() if messages else await receive()

    return receive_again
