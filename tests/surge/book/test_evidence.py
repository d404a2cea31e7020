"""A cause whose evidence is missing, or does not hold, is found."""

import pytest
from made_up import comparison

from stack.errors import StackError
from surge.book import evidence, pictures
from surge.results.rows import Comparison

SIDE = (100.0, 9.0, {"client": 0.1, "app": 1.0})
ROWS = [
    comparison("01 naive", "02 queries", "list", SIDE, SIDE),
    comparison("02 queries", "02 queries (work/02-x)", "list", SIDE, SIDE),
    comparison("02 queries", "02 queries (work/02-y)", "list", SIDE, SIDE, rejected="too noisy"),
]


@pytest.fixture(autouse=True)
def _recorded(monkeypatch: pytest.MonkeyPatch) -> None:
    def committed() -> list[Comparison]:
        return ROWS

    monkeypatch.setattr(pictures, "committed", committed)


@pytest.mark.parametrize(
    "marker",
    [
        "comparison 01 02 list",
        "variants 02 work/02-x list",
        "output 14_balanced together",
        "claim 02 sql.statements",
    ],
)
def test_evidence_that_is_there_is_taken(marker: str) -> None:
    evidence.check(f"# T\n\n<!-- shown {marker} -->\nThe index did it.\n")


@pytest.mark.parametrize(
    ("marker", "why"),
    [
        ("comparison 01 02 cold", "02 against 01 on cold is not recorded"),
        ("comparison 02 work/02-y list", "was rejected"),
        ("variants 02 work/02-x,work/02-y list", "work/02-y against 02 on list was rejected"),
        ("output 14_balanced nothing", "no cell that begins with `# nothing`"),
        ("claim 02 http.errors", "02 queries has no recorded claim about http.errors"),
        ("hope 02 list", "no such kind"),
        ("comparison 02 list", "no such kind"),
    ],
)
def test_evidence_that_is_missing_or_rejected_is_said_with_its_line(marker: str, why: str) -> None:
    with pytest.raises(StackError, match=why) as found:
        evidence.check(f"# T\n\n<!-- shown {marker} -->\nThe index did it.\n")
    assert "line 3" in str(found.value) or "cell" in why
