"""Check the budget of connections, as a start of the service does."""

import asyncio

from app.budget import check_budget

asyncio.run(check_budget())
