"""The shop: `uvicorn app.main:app` serves it."""

from fastapi_pagination import add_pagination

from app import health, orders, partners, products, reports
from app.logs import log_request, open_log
from app.problems import Service, add_problem_handlers, problems

open_log()

app = Service(title="Surge shop", version="1", responses=problems(500, 503))
app.middleware("http")(log_request)
add_problem_handlers(app)
app.include_router(products.router)
app.include_router(partners.router)
app.include_router(orders.router)
app.include_router(reports.router)
app.include_router(health.router)
add_pagination(app)
