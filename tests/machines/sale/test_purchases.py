"""decide: who of a batch gets what is what they would get if they bought one after the other."""

from app.sale.purchases import Purchase, decide
from fastapi import HTTPException
from hypothesis import given, strategies as st


def buy(product: int, quantity: int = 1, key: str | None = None, who: str = "ada") -> Purchase:
    return Purchase(product, quantity, f"{who}@example.com", key)


def refusal(decision: object) -> tuple[int, str]:
    assert isinstance(decision, HTTPException)
    return decision.status_code, decision.detail


def status(decision: object) -> int:
    return refusal(decision)[0]


def test_unknown_product_is_a_404() -> None:
    [decision] = decide([buy(8)], {7: 1}, {})
    assert refusal(decision) == (404, "There is no product 8. Check the number.")


def test_first_come_first_served() -> None:
    one, two, three = buy(7, 2), buy(7, 2), buy(7, 1)
    decisions = decide([one, two, three], {7: 3}, {})
    assert (decisions[0], decisions[2]) == (one, three)
    assert refusal(decisions[1]) == (409, "Only 1 left. Order fewer, or something else.")


def test_what_one_product_lacks_another_still_has() -> None:
    first, other = buy(7), buy(9)
    decisions = decide([first, buy(7), other], {7: 1, 9: 1}, {})
    assert (decisions[0], status(decisions[1]), decisions[2]) == (first, 409, other)


def test_known_key_gives_the_earlier_order_even_when_all_is_sold() -> None:
    earlier = buy(7, 2, "key")
    assert decide([buy(7, 2, "key")], {7: 0}, {"key": earlier}) == [earlier]


def test_known_key_for_anything_else_is_a_422() -> None:
    earlier = {"key": buy(7, 2, "key")}
    others = [buy(9, 2, "key"), buy(7, 1, "key"), buy(7, 2, "key", who="bob")]
    assert [status(one) for one in decide(others, {7: 9, 9: 9}, earlier)] == [422] * 3


def test_key_repeated_within_a_batch_is_one_purchase() -> None:
    first = buy(7, 1, "key")
    decisions = decide([first, buy(7, 1, "key"), buy(7, 2, "key"), buy(7)], {7: 1}, {})
    assert decisions[0] is first is decisions[1]
    assert [status(one) for one in decisions[2:]] == [422, 409]


def test_refused_purchase_does_not_use_its_key_up() -> None:
    second = buy(7, 1, "key")
    decisions = decide([buy(7, 3, "key"), second], {7: 2}, {})
    assert (status(decisions[0]), decisions[1]) == (409, second)


def test_purchases_without_a_key_are_never_the_same() -> None:
    one, two = buy(7), buy(7)
    assert decide([one, two], {7: 2}, {}) == [one, two]


def test_nothing_that_was_given_is_changed() -> None:
    stock: dict[int, int] = {7: 2}
    earlier: dict[str | None, Purchase] = {}
    decide([buy(7, 1, "key")], stock, earlier)
    assert (stock, earlier) == ({7: 2}, {})


PURCHASES = st.lists(
    st.builds(
        buy,
        st.sampled_from([1, 2, 3, 404]),
        st.integers(1, 3),
        st.sampled_from([None, None, "a", "b", "c"]),
        st.sampled_from(["ada", "ada", "bob"]),
    ),
    max_size=12,
)
STOCK = st.fixed_dictionaries({id: st.integers(0, 5) for id in (1, 2, 3)})


def one_at_a_time(purchases: list[Purchase], stock: dict[int, int]) -> list[object]:
    """Each is decided alone, after those before have been made."""
    left = dict(stock)
    made: dict[str | None, Purchase] = {}
    decisions = []
    for purchase in purchases:
        [decision] = decide([purchase], left, made)
        if decision is purchase:
            left[purchase.product_id] -= purchase.quantity
            if purchase.idempotency_key:
                made[purchase.idempotency_key] = purchase
        decisions.append(decision)
    return decisions


@given(PURCHASES, STOCK)
def test_a_batch_is_decided_as_one_purchase_after_the_other(
    purchases: list[Purchase], stock: dict[int, int]
) -> None:
    together, alone = decide(purchases, stock, {}), one_at_a_time(purchases, stock)
    for one, other in zip(together, alone, strict=True):
        if isinstance(other, HTTPException):
            assert refusal(one) == refusal(other)
        else:
            assert one is other


@given(PURCHASES, STOCK)
def test_never_more_is_sold_than_there_is(purchases: list[Purchase], stock: dict[int, int]) -> None:
    made = {id(one): one for one in decide(purchases, stock, {}) if isinstance(one, Purchase)}
    for product, units in stock.items():
        assert sum(one.quantity for one in made.values() if one.product_id == product) <= units
