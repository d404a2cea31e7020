"""A reader's mistake is caught, by the counter that is about it."""

import shutil
from pathlib import Path

import pytest

from stack.checkpoint import find
from surge.count import counters

MUTANTS = {
    "an index left out": (
        "indexes.sql",
        "CREATE INDEX",
        "-- CREATE INDEX",
        "sql.seq_rows",
    ),
    "a query in a loop": (
        "app/products.py",
        "    reviews = (await session.scalars(newest)).all()\n",
        "    reviews = (await session.scalars(newest)).all()\n"
        "    for review in reviews:\n"
        "        await session.scalar(select(Review.stars).where(Review.id == review.id))\n",
        "sql.statements",
    ),
    "a client for every call": (
        "app/partners.py",
        "        async with client.get(",
        "        async with open_client() as client, client.get(",
        "partners.connections",
    ),
    "a partner call that blocks the loop": (
        "app/partners.py",
        "async with client.get(path, allow_redirects=False) as response:",
        "__import__('urllib.request').request.urlopen(settings.partners_url + path)\n"
        "        async with client.get(path, allow_redirects=False) as response:",
        "loop.slow_callbacks",
    ),
    "a loop that is held": (
        "app/products.py",
        "    product = await find(session, product_id, *DETAIL)\n",
        "    product = await find(session, product_id, *DETAIL)\n"
        "    __import__('time').sleep(0.2)\n",
        "loop.slow_callbacks",
    ),
}


@pytest.mark.parametrize("name", MUTANTS)
def test_mutant_is_caught_by_its_counter(name: str, tmp_path: Path) -> None:
    file, old, new, counter = MUTANTS[name]
    step = find("async")
    mine = tmp_path / "05"
    shutil.copytree(step.directory, mine)
    text = (mine / file).read_text()
    assert old in text, "the mutation no longer applies"
    (mine / file).write_text(text.replace(old, new))
    aware = step.model_copy(
        update={
            "claims": [
                claim.model_copy(update={"requests": min(claim.requests, 20)})
                for claim in step.claims
                if claim.counter == counter
            ]
        }
    )
    assert not all(row.holds for row in counters.claims(aware, mine)), f"{name} was not noticed"
