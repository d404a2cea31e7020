"""A generated block is made anew from its source, and a broken marker is said in one line."""

from pathlib import Path

import pytest

from stack.errors import StackError
from stack.paths import ROOT
from surge.book import blocks, listings, pictures, sync

CHAPTER = ROOT / "chapters" / "02-queries.md"

SOURCE = '''
LIMIT = 3


class Shop:
    # Why it is open.
    @property
    def open(self) -> bool:
        return True


async def ask(partner: str) -> None:
    """Ask."""
'''


def test_generate_fills_a_block_and_is_idempotent() -> None:
    text = "# T\n\n<!-- stat 01 02 -->\nold\n<!-- end -->\n\nafter\n"
    made = sync.generate(text, CHAPTER)
    assert "`indexes.sql`" in made
    assert "old" not in made
    assert made.startswith("# T\n")
    assert made.endswith("<!-- end -->\n\nafter\n")
    assert sync.generate(made, CHAPTER) == made


def test_a_listing_names_its_file_and_links_to_it() -> None:
    made = blocks.render("listing", ["checkpoints/01_naive/app/products.py#get_product"], CHAPTER)
    assert "(../checkpoints/01_naive/app/products.py), `get_product`" in made
    assert "```python\n@router.get" in made


@pytest.mark.parametrize(
    ("name", "first", "last"),
    [
        ("LIMIT", "LIMIT = 3", "LIMIT = 3"),
        ("Shop", "class Shop:", "        return True"),
        ("Shop.open", "# Why it is open.", "    return True"),
        ("ask", "async def ask(partner: str) -> None:", '    """Ask."""'),
    ],
)
def test_a_definition_is_cut_out_whole(name: str, first: str, last: str) -> None:
    lines = listings.definition(SOURCE, name).splitlines()
    assert (lines[0], lines[-1]) == (first, last)


TEMPLATE = """
http {

    # Who answers.
    upstream shop {
        zone shop 1k;

        # Kept.
        keepalive 64;
    }

    log_format line '{"a":1}';
}
"""


@pytest.mark.parametrize(
    ("directive", "first", "last", "lines"),
    [
        ("upstream", "# Who answers.", "}", 7),
        ("keepalive", "# Kept.", "keepalive 64;", 2),
        ("log_format", "log_format line '{\"a\":1}';", "log_format line '{\"a\":1}';", 1),
    ],
)
def test_a_passage_of_a_configuration_has_balanced_braces(
    directive: str, first: str, last: str, lines: int
) -> None:
    cut = listings.passage(TEMPLATE, directive).splitlines()
    assert (cut[0], cut[-1], len(cut)) == (first, last, lines)


def test_a_directive_is_a_whole_word() -> None:
    with pytest.raises(LookupError):
        listings.passage(TEMPLATE, "keep")


def test_a_fence_is_longer_than_those_inside() -> None:
    assert listings.code_block("text", "a ``` b") == "````text\na ``` b\n````"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("<!-- stat 01 02 -->\n", "line 1: the block has no end"),
        (
            "<!-- stat 01 02 -->\n<!-- stat 01 02 -->\n<!-- end -->\n",
            "line 1: the block has no end",
        ),
        ("\n<!-- end -->\n", "line 2: `<!-- end -->` ends no block"),
        ("<!-- stat 01 -->\n<!-- end -->\n", "`stat 01` should be `stat A B`"),
        ("<!-- diff 01 02 app/logs.py -->\n<!-- end -->\n", "is the same in 01 naive and 02"),
        ("<!-- listing no/file.py -->\n<!-- end -->\n", "There is no file no/file.py"),
        (
            "<!-- listing checkpoints/01_naive/app/main.py#nothing -->\n<!-- end -->\n",
            "main.py defines no nothing",
        ),
    ],
)
def test_a_broken_marker_raises_a_one_line_error(text: str, said: str) -> None:
    with pytest.raises(StackError, match=r"^[^\n]*$") as caught:
        sync.generate(text, CHAPTER)
    assert said in str(caught.value)


def test_a_missing_row_gives_way_to_the_command_that_measures_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "COMMITTED", tmp_path)
    made = blocks.render("comparison", ["01", "02", "list"], CHAPTER)
    assert "Not recorded yet" in made
    assert "`surge compare 01 02 --workload list`" in made
