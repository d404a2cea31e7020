"""What the climb says of a row while it goes on."""

import io

import made_up
from rich.console import Console

from surge.climb.climb import line
from surge.results.rows import Row

ROWS = made_up.climb()
*_, REJECTED, OFFERS, CONTROL = ROWS


def said(row: Row) -> str:
    console = Console(file=io.StringIO(), width=200, color_system=None)
    console.print(line(row))
    assert isinstance(console.file, io.StringIO)
    return console.file.getvalue()


def test_a_comparison_is_a_line_with_verdict_and_ratio() -> None:
    assert said(OFFERS) == "05 async     offers: ▲ faster, ≥ 14.6x (13.9-15.5) against 04 pool\n"
    assert said(CONTROL) == (
        "05 async     detail: ≈ cannot tell, 1.00x (0.95-1.06) against 05 async\n"
    )


def test_a_rejected_run_gives_its_reason_and_no_ratio() -> None:
    assert said(REJECTED).startswith("04 pool      orders: ✕ rejected, other programs used 31 %")


def test_a_count_is_printed_in_full() -> None:
    many = made_up.claim("01 naive", "rows", 500_123.0, holds=False)
    assert said(many) == ("01 naive     rows: sql.statements 500,123 (at most 2) does not hold\n")
    assert said(made_up.contract("01 naive")) == "01 naive     contract: 143 promises, kept\n"
