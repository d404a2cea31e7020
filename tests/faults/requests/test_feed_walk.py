"""A walk over the feed meets every product once, while others are added and deleted."""

import httpx2
import psycopg
from steps import each, introduced_in, without_worker

from stack.checkpoint import Checkpoint

GONE = """
    WITH gone AS (SELECT id FROM products ORDER BY created_at DESC, id DESC OFFSET 500 LIMIT 2),
    reviewed AS (DELETE FROM reviews WHERE product_id IN (SELECT id FROM gone)),
    ordered AS (DELETE FROM orders WHERE product_id IN (SELECT id FROM gone))
    SELECT id FROM gone
"""
NEW = """
    INSERT INTO products SELECT %s, seller_id, name, description, category, price_cents, stock,
    %s::timestamptz FROM products WHERE id = 7
"""


@each(introduced_in("pages", "lean"))
def test_feed_walk_skips_and_repeats_nothing(step: Checkpoint) -> None:
    met: list[int] = []
    with (
        without_worker(step) as system,
        httpx2.Client(base_url=system.url, timeout=30) as client,
        psycopg.connect(system.database_url, autocommit=True) as database,
    ):
        newest_first = "SELECT id FROM products ORDER BY created_at DESC, id DESC"
        before = [id for (id,) in database.execute(newest_first)]
        cursor: dict[str, str] | None = {}
        while cursor is not None:
            page = client.get("/products/feed", params={"size": 50, **cursor}).json()
            met += [item["id"] for item in page["items"]]
            cursor = {"cursor": page["next"]} if page["next"] else None
            if len(met) == 50:
                gone = [id for (id,) in database.execute(GONE)]
                database.execute("DELETE FROM products WHERE id = ANY(%s)", (gone,))
                database.execute(NEW, (2001, "now"))  # too new for this walk
                last = "SELECT created_at + interval '1 microsecond' FROM products WHERE id = %s"
                [(soon,)] = database.execute(last, (before[700],)).fetchall()
                database.execute(NEW, (2002, soon))
    assert 2001 not in met
    assert met.index(before[700]) == met.index(2002) + 1
    assert [id for id in met if id != 2002] == [id for id in before if id not in gone]
