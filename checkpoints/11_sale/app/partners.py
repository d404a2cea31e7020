"""Offers: what three partners ask for the same product."""

import asyncio
from typing import Annotated

import aiohttp
from fastapi import APIRouter, Depends, Request

from app.logs import log
from app.problems import problems
from app.products import find
from app.queries import STOCK
from app.schemas import Offer, Offers, ProductId, Quote
from app.settings import settings

router = APIRouter(prefix="/products", tags=["products"])

PARTNERS = ("meridian", "northwind", "tradepost")
MAX_RESPONSE_BYTES = 4096  # a quote takes fifty


def open_client() -> aiohttp.ClientSession:
    """One client for the life of the service: it reuses connections, which are costly to open."""
    return aiohttp.ClientSession(
        settings.partners_url,
        connector=aiohttp.TCPConnector(limit=0),  # 100 by default: the 101st call would queue
        timeout=aiohttp.ClientTimeout(total=settings.partner_timeout),
        headers={"Accept-Encoding": "identity"},
        auto_decompress=False,  # a kilobyte can become a megabyte
        cookie_jar=aiohttp.DummyCookieJar(),  # the default jar sends cookies back
    )


async def get_client(request: Request) -> aiohttp.ClientSession:
    client: aiohttp.ClientSession = request.state.client
    return client


Client = Annotated[aiohttp.ClientSession, Depends(get_client)]


@router.get("/{product_id}/offers", responses=problems(404, 422))
async def get_offers(product_id: ProductId, client: Client) -> Offers:
    await find(STOCK, product_id)
    calls = [fetch_offer(client, partner, product_id) for partner in PARTNERS]
    answers = dict(zip(PARTNERS, await asyncio.gather(*calls), strict=True))
    offers = [offer for offer in answers.values() if offer]
    return Offers(
        product_id=product_id,
        offers=sorted(offers, key=lambda offer: (offer.price_cents, offer.partner)),
        missing=[partner for partner, offer in answers.items() if offer is None],
    )


async def fetch_offer(client: aiohttp.ClientSession, partner: str, product_id: int) -> Offer | None:
    """A partner's offer, or None when it fails or takes too long."""
    try:
        path = f"/{partner}/offers/{product_id}"
        async with client.get(path, allow_redirects=False) as response:
            response.raise_for_status()
            quote = Quote.model_validate_json(await read_limited(response))
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        log.warning("no offer", partner=partner, error=type(error).__name__)
        return None
    return Offer(partner=partner, **quote.model_dump())


async def read_limited(response: aiohttp.ClientResponse) -> bytes:
    """The body, cut off at the limit. A body that is cut off is not valid JSON."""
    body = b""
    while chunk := await response.content.read(MAX_RESPONSE_BYTES - len(body)):
        body += chunk
    return body
