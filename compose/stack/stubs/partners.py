"""The partner services: three shops elsewhere that quote a price, slowly, and fail on request.

`PUT /settings` changes how they behave while the stub runs; the same names in capitals, with the
prefix `PARTNERS_`, set the initial values in the environment:

    latency_ms, jitter_ms   how long a quote takes (uniformly spread by the jitter)
    error_rate              the share of calls that are answered 500
    odd                     calls are answered 200, with something that is no quote
    hold                    calls wait until it is false again: what is in flight can be counted

`partner=` limits a change to one of the three, or to `mail`, the service that sends the shop's
confirmations. `POST /mail/messages` with an `Idempotency-Key` accepts a message; a second one with
the same key counts as the same message. `GET` shows the accepted messages.

`GET /stats` returns the counts, `POST /reset` zeroes them. Calls with a `traceparent` header have
their traces counted, too. The stub is bare ASGI, so that it costs little CPU beside the service
that is measured. Serve it by

    python -m stack.stubs.partners --port 9000
"""

import asyncio
import json
import os
import random
import re
from itertools import count
from typing import Annotated, Any
from urllib.parse import parse_qsl

import typer
import uvicorn
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from starlette.types import Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from stack.stubs.asgi import read_body, send_response

PARTNERS = ("meridian", "northwind", "tradepost")
MAIL = "mail"
TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
"""Version, trace, the caller's own span, flags (W3C Trace Context)."""


class PartnerSettings(BaseModel):
    """How a partner behaves."""

    model_config = ConfigDict(extra="forbid")

    latency_ms: float = Field(default=30.0, ge=0, le=60_000)
    jitter_ms: float = Field(default=0.0, ge=0, le=60_000)
    error_rate: float = Field(default=0.0, ge=0, le=1)
    hold: bool = False
    odd: bool = False


class NumberedConnection(HttpToolsProtocol):
    """Numbers connections instead of telling them apart by port: ports are soon used again."""

    numbers = count()

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Give the connection the next number."""
        super().connection_made(transport)
        self.client = ("client", next(self.numbers))


class Stats:
    """What the partners have counted since the last reset."""

    def __init__(self) -> None:
        self.calls = 0
        self.in_flight = 0
        self.max_in_flight = 0
        self.clients: set[int] = set()
        self.posts = 0
        self.messages: dict[str, Any] = {}
        self.traces: set[str] = set()

    def reset(self) -> None:
        """Zero the counts; calls in flight stay in flight."""
        self.calls = self.posts = 0
        self.max_in_flight = self.in_flight
        self.clients.clear()
        self.messages.clear()
        self.traces.clear()

    def as_dict(self) -> dict[str, int]:
        """The counts by name; `connections` are those that carried a call."""
        return {
            "calls": self.calls,
            "in_flight": self.in_flight,
            "max_in_flight": self.max_in_flight,
            "connections": len(self.clients),
            "posts": self.posts,
            "messages": len(self.messages),
            "traces": len(self.traces),
        }


def from_environment() -> PartnerSettings:
    """The initial settings, as the environment gives them."""
    names = {name: f"PARTNERS_{name.upper()}" for name in PartnerSettings.model_fields}
    return PartnerSettings.model_validate(
        {name: os.environ[key] for name, key in names.items() if key in os.environ}
    )


stats = Stats()
settings = {name: from_environment() for name in (*PARTNERS, MAIL)}
released = asyncio.Event()


def quote(partner: str, product_id: int) -> dict[str, int]:
    """A partner's quote for a product: always the same, so that tests can know it."""
    k = PARTNERS.index(partner)
    return {
        "price_cents": 900 + (product_id * 7919 + k * 104729) % 9000,
        "delivery_days": 1 + (product_id + k) % 7,
    }


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Answer `/{partner}/offers/{product_id}` and the three control paths."""
    if scope["type"] != "http":
        return
    match scope["path"].strip("/").split("/"):
        case [partner, "offers", product_id] if partner in PARTNERS and product_id.isdecimal():
            record_trace(scope)
            status, body = await offer(partner, int(product_id), scope["client"][1])
        case ["mail", "messages"] if scope["method"] == "POST":
            record_trace(scope)
            key = dict(scope["headers"]).get(b"idempotency-key", b"").decode("latin-1")
            status, body = await mail(key, await read_body(receive))
        case ["mail", "messages"]:
            status, body = 200, stats.messages
        case ["settings"] if scope["method"] == "PUT":
            status, body = configure(dict(parse_qsl(scope["query_string"].decode())))
        case ["stats"]:
            status, body = 200, stats.as_dict()
        case ["reset"] if scope["method"] == "POST":
            stats.reset()
            status, body = 200, stats.as_dict()
        case _:
            status, body = 404, {"error": "unknown path"}
    await send_response(send, status, "application/json", json.dumps(body).encode())


def record_trace(scope: Scope) -> None:
    """Count the trace that the caller names in `traceparent`, if it names one."""
    header = dict(scope["headers"]).get(b"traceparent", b"").decode("latin-1")
    if found := TRACEPARENT.fullmatch(header):
        stats.traces.add(found[1])


async def offer(partner: str, product_id: int, client: int) -> tuple[int, Any]:
    """Wait as the settings say, then quote or fail."""
    stats.calls += 1
    stats.in_flight += 1
    stats.max_in_flight = max(stats.max_in_flight, stats.in_flight)
    stats.clients.add(client)
    try:
        if await simulate_call(settings[partner]):
            return 200, None if settings[partner].odd else quote(partner, product_id)
        return 500, {"error": "out of order"}
    finally:
        stats.in_flight -= 1


async def mail(key: str, message: bytes) -> tuple[int, Any]:
    """Wait as the settings say, then accept the message or fail."""
    stats.posts += 1
    if not key:
        return 400, {"error": "send an Idempotency-Key"}
    if not await simulate_call(settings[MAIL]):
        return 500, {"error": "out of order"}
    stats.messages.setdefault(key, json.loads(message))
    return 202, {"key": key}


async def simulate_call(partner: PartnerSettings) -> bool:
    """Wait as long as a call takes; returns whether it succeeds."""
    if partner.hold:
        await released.wait()
    spread = partner.jitter_ms * (2 * random.random() - 1)  # noqa: S311 - not a secret
    await asyncio.sleep(max(0.0, partner.latency_ms + spread) / 1000)
    return random.random() >= partner.error_rate  # noqa: S311 - not a secret


def configure(changes: dict[str, str]) -> tuple[int, Any]:
    """Change settings of one partner, or of all."""
    only = changes.pop("partner", None)
    if only is not None and only not in settings:
        return 422, {"error": f"partner is one of {', '.join(settings)}"}
    names = [only] if only else list(settings)
    try:
        changed = {
            name: PartnerSettings.model_validate({**settings[name].model_dump(), **changes})
            for name in names
        }
    except ValidationError as error:
        first = error.errors()[0]
        return 422, {"error": f"{first['loc'][0]}: {first['msg']}"}
    settings.update(changed)
    if any(partner.hold for partner in settings.values()):
        released.clear()
    else:
        released.set()
    return 200, {name: partner.model_dump() for name, partner in settings.items()}


def main(port: Annotated[int, typer.Option()], host: str = "127.0.0.1") -> None:
    """Serve the partners until SIGTERM."""
    uvicorn.run(app, host=host, port=port, http=NumberedConnection, log_level="warning")


if __name__ == "__main__":
    typer.run(main)
