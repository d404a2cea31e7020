"""However an order is spelled, it is answered as it was when every order took the same way.

Orders in the usual form are placed before the framework sees them. Step 10 has only one way.
"""

import json
import re
from collections.abc import Iterator
from functools import partial
from typing import Any

import pytest
from balanced import talk
from buyers import ONE, PATIENT, SALE, THREE, UNKNOWN, Shop, opened
from hypothesis import given, settings, strategies as st
from steps import without_worker

from stack.checkpoint import find
from stack.stubs.client import port_of

SOLD_OUT = THREE
TYPE = b"Content-Type: application/json"
USUAL = {"product_id": ONE, "quantity": 1, "customer": "ada@example.com"}
BODY = json.dumps(USUAL).encode()


def stock(shop: Shop) -> None:
    shop.put_on_sale({ONE: 1_000_000, SOLD_OUT: 0})


@pytest.fixture(scope="module")
def before() -> Iterator[Shop]:
    """Step 10."""
    with without_worker(find("batching"), PATIENT) as system, opened(system) as shop:
        stock(shop)
        yield shop


@pytest.fixture(scope="module", params=SALE, ids=lambda step: step.label)
def shop(request: pytest.FixtureRequest) -> Iterator[Shop]:
    with without_worker(request.param, PATIENT) as system, opened(system) as shop:
        stock(shop)
        yield shop


def ask(
    shop: Shop,
    *headers: bytes,
    type: bytes = TYPE,
    more: bytes = b"X-Any: 1",
    path: bytes = b"/orders",
    body: bytes = BODY,
    cut: int | None = None,
) -> tuple[bytes, dict[str, str], Any]:
    """Send a request by hand, perhaps cut in two; the status, headers and body of the answer."""
    lines = [b"POST %b HTTP/1.1" % path, b"Host: shop", b"Connection: close", type, more, *headers]
    if b"chunked" not in more:
        lines.append(b"Content-Length: %d" % len(body))
    raw = b"\r\n".join([*lines, b"", body])
    cut = len(raw) - len(body) + cut if cut is not None else len(raw)
    said = talk(port_of(shop.system.urls[0]), raw[:cut], raw[cut:], pause=0.02 * (cut < len(raw)))
    said = said.removeprefix(b"HTTP/1.1 100 Continue\r\n\r\n")
    head, _, content = said.partition(b"\r\n\r\n")
    status, *rest = head.split(b"\r\n")
    given = dict(line.decode().lower().split(": ", 1) for line in rest)
    return status, given, json.loads(content) if content else None


def without_ids(answer: tuple[bytes, dict[str, str], Any]) -> object:
    """What does not differ from one order to the next."""
    status, headers, body = answer
    if isinstance(body, dict):
        body = {name: value for name, value in body.items() if name not in ("id", "created_at")}
    location = re.sub(r"\d+", "N", headers.get("location", ""))
    return status.split(b" ")[1], headers.get("content-type"), location, body


def key(text: str) -> bytes:
    return b"Idempotency-Key: " + text.encode()


SPELLINGS: dict[str, dict[str, Any]] = {
    "charset": {"type": b"Content-Type: application/json; charset=utf-8"},
    "capitals": {"type": b"CONTENT-TYPE: Application/JSON"},
    "two segments": {"cut": 20},
    "body later": {"cut": 0},
    "expect": {"more": b"Expect: 100-continue"},
    "repeated header": {"more": b"X-Any: 1\r\nX-Any: 2"},
    "repeated type": {"more": TYPE},
    "spaces": {"body": json.dumps(USUAL, indent=2).encode()},
    "long": {"body": BODY + b" " * 2000},
    "escapes": {"body": BODY.replace(b"ada@", b"\\u0061da@")},
    "byte order mark": {"body": b"\xef\xbb\xbf" + BODY},
    "utf-16": {"body": json.dumps(USUAL).encode("utf-16")},
    "utf-32": {"body": json.dumps(USUAL).encode("utf-32-le")},
    "the last one counts": {"body": b'{"quantity": 7, "product_id": "x", ' + BODY[1:]},
    "query": {"path": b"/orders?key=1"},
    "percent": {"path": b"/%6Frders"},
    "chunked": {
        "more": b"Transfer-Encoding: chunked",
        "body": b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY),
    },
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_odd_spelling_of_an_order_is_the_same_order(shop: Shop, before: Shop, name: str) -> None:
    """By its key, the usual spelling and the odd one get each other's order."""
    usual, oddly = partial(ask, shop), partial(ask, shop, **SPELLINGS[name])
    for number, (first, second) in enumerate([(usual, oddly), (oddly, usual)]):
        mine = key(f"{name.replace(' ', '-')}-{number}")
        one, other = first(mine), second(mine)
        assert one[0] == other[0] == b"HTTP/1.1 201 Created"
        assert (one[1]["location"], one[2]) == (other[1]["location"], other[2])
    assert without_ids(oddly()) == without_ids(ask(before, **SPELLINGS[name]))


OTHERS: dict[str, dict[str, Any]] = {
    "no type": {"type": b"X-Any: 1"},
    "another type": {"type": b"Content-Type: text/plain"},
    "a type of JSON": {"type": b"Content-Type: application/vnd.shop+json"},
    "no body": {"body": b""},
    "half a body": {"body": BODY[:20]},
    "half a body, later": {"body": BODY[:20], "cut": 5},
    "more than a body, later": {"body": BODY + b"x", "cut": len(BODY)},
    "two bodies": {"body": BODY + BODY},
    "no UTF-8": {"body": BODY.replace(b"ada@", b"\xff@")},
    "deep": {"body": b"[" * 500},
    "unknown product": {"body": BODY.replace(b"7", b"%d" % UNKNOWN)},
    "sold out": {"body": BODY.replace(b"7", b"%d" % SOLD_OUT)},
    "empty key": {"more": key("")},
    "space in a key": {"more": key("a b")},
    "tab in a key": {"more": key("a\tb")},
    "spaces around a key": {"more": key("  around  ")},
    "key in Latin-1": {"more": b"Idempotency-Key: schl\xfcssel"},
    "longest key": {"more": key("k" * 255)},
    "too long a key": {"more": key("k" * 256)},
    "the same key twice": {"more": key("same") + b"\r\n" + key("same")},
    "two keys": {"more": key("two-1") + b"\r\n" + key("two-2")},
    "two keys, one empty": {"more": key("") + b"\r\n" + key("two-3")},
    "the second of two keys": {"more": key("two-2")},
    "the first of two keys": {"more": key("two-1")},
}


def test_every_other_request_is_answered_as_before(shop: Shop, before: Shop) -> None:
    """Twice: the second finds the order of its key, or does not."""
    wrong = {}
    for name, request in OTHERS.items():
        answers = []
        for one in (before, shop):
            twice = ask(one, **request), ask(one, **request)
            answers.append((*map(without_ids, twice), twice[0][2] == twice[1][2]))
        if answers[0] != answers[1]:
            wrong[name] = answers
    assert not wrong, "\n".join(f"{name}: {what}" for name, what in wrong.items())


def test_trailing_slash_buys_nothing(shop: Shop) -> None:
    """Until an instance is behind nginx, it names the address without the slash."""
    sold = shop.sold(ONE)
    status, _, _ = ask(shop, path=b"/orders/")
    assert status.split()[1] in (b"307", b"404")
    assert shop.sold(ONE) == sold


# Values as they are written: what one parser of JSON takes, another may not.
WRITTEN = {
    "product_id": [
        *("7", "7.0", "7e0", "07", "-7", "0", "+7", "0x7", "2147483648", str(UNKNOWN), "1" * 50),
        *("NaN", "-Infinity", "1e999", '"7"', "true", "null", "[7]", "{}", ""),
    ],
    "quantity": [
        *("1", "10", "11", "0", "-0", "-1", "1.0", "1.5", "1E0", "10e-1", "01", "1" * 50, "NaN"),
        *('"2"', "true", "null", "[]", "1 2"),
    ],
    "customer": [
        *(
            '"ada@example.com"',
            '"Ada@Example.COM"',
            '" ada@example.com "',
            '"ada"',
            '""',
            '"a@b@c"',
        ),
        *('"Ada <ada@example.com>"', '"ada@ex\u00e4mple.com"', '"ad\\u0061@example.com"'),
        *('"\\ud800@example.com"', '"\\ud83d\\ude00@example.com"', '"a\\u0000@example.com"'),
        *(
            '"a\x00@example.com"',
            '"a\x1f@example.com"',
            '"a\x7f@example.com"',
            '"a\\/@example.com"',
        ),
        *('"a\\x@example.com"', "'ada@example.com'", '"ada@example.com', "null", "7", '["a"]'),
        json.dumps("a" * 64 + "@example.com"),
        json.dumps("a" * 65 + "@example.com"),
    ],
    "price_cents": ["1"],
    "Quantity": ["1"],
}
FIELD = st.sampled_from([*WRITTEN]).flatmap(
    lambda name: st.tuples(st.just(name), st.sampled_from(WRITTEN[name]))
)
GOOD = [(name, WRITTEN[name][0]) for name in USUAL]
FIELDS = st.tuples(
    st.permutations(GOOD).flatmap(lambda good: st.sampled_from([good, good, good, good[:2]])),
    st.lists(FIELD, max_size=2),
    st.booleans(),
).map(lambda parts: [*parts[0], *parts[1]] if parts[2] else [*parts[1], *parts[0]])
ENCODINGS = st.sampled_from(
    ["utf-8"] * 6 + ["utf-8-sig", "utf-16", "utf-16-be", "utf-32", "latin-1"]
)
BLANKS = st.sampled_from(["", "", "", " ", "\n", "\t", "\x0b", "\xa0", ","])


@settings(max_examples=200, deadline=None)
@given(FIELDS, ENCODINGS, BLANKS)
def test_any_body_is_answered_as_before(
    shop: Shop, before: Shop, fields: list[tuple[str, str]], encoding: str, blank: str
) -> None:
    inside = ", ".join(f'"{name}": {value}' for name, value in fields)
    body = f"{{{inside}{blank}}}{blank}".encode(encoding)
    assert without_ids(ask(shop, body=body)) == without_ids(ask(before, body=body))
