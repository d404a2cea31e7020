"""Offers: what three partners ask for the same product."""

import httpx2
from fastapi import APIRouter
from sqlalchemy.orm import load_only

from app.database import Database
from app.models import Product
from app.problems import problems
from app.products import find
from app.schemas import Offer, Offers, ProductId, Quote
from app.settings import settings

router = APIRouter(prefix="/products", tags=["products"])

PARTNERS = ("meridian", "northwind", "tradepost")
MAX_RESPONSE_BYTES = 4096  # a quote takes fifty


@router.get("/{product_id}/offers", responses=problems(404, 422))
def get_offers(product_id: ProductId, session: Database) -> Offers:
    product = find(session, product_id, load_only(Product.id))
    session.close()  # before the wait for the partners, not after it
    answers = {partner: fetch_offer(partner, product.id) for partner in PARTNERS}
    offers = [offer for offer in answers.values() if offer]
    return Offers(
        product_id=product.id,
        offers=sorted(offers, key=lambda offer: (offer.price_cents, offer.partner)),
        missing=[partner for partner, offer in answers.items() if offer is None],
    )


def fetch_offer(partner: str, product_id: int) -> Offer | None:
    """A partner's offer, or None when it fails or takes too long."""
    url = f"{settings.partners_url}/{partner}/offers/{product_id}"
    try:
        with httpx2.stream("GET", url, timeout=settings.partner_timeout) as response:
            response.raise_for_status()
            body = next(response.iter_raw(MAX_RESPONSE_BYTES), b"")  # no more is read
        quote = Quote.model_validate_json(body)
    except (httpx2.HTTPError, ValueError):
        return None
    return Offer(partner=partner, **quote.model_dump())
