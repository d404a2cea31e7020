"""What the chapters show is what the checkpoints are, and every way out of them leads somewhere."""

import re
import shlex
from functools import cache
from itertools import pairwise
from pathlib import Path

import pytest
import typer
from documents import CHAPTERS, READMES, STEPS, Document

from stack.checkpoint import Checkpoint, checkpoints
from stack.paths import ROOT
from surge import cli
from surge.book import sync

CHECKED = {"python", "sql", "toml", "diff"}
BY_HAND = re.compile(r"<!-- by hand: \S.* -->")
SHAPE = [
    "The pain",
    "Predict",
    "The change",
    "Count",
    "Measure",
    "Explain",
    "In production",
    "Your turn",
    "Questions",
    "What the articles say",
]
MEASURED = re.compile(
    r"\b\d[\d.,]*( ?[x]\b| times (faster|slower)| (requests|calls)(/s| a second))"
)

documents = pytest.mark.parametrize("document", CHAPTERS + READMES, ids=str)
chapters = pytest.mark.parametrize("chapter", CHAPTERS, ids=str)
steps = pytest.mark.parametrize("chapter", STEPS, ids=str)
checkpoints_ = pytest.mark.parametrize("step", checkpoints(), ids=lambda step: step.label)


def generated_lines(document: Document) -> set[int]:
    return {
        line for block in sync.find_blocks(document.text) for line in range(block.first, block.last)
    }


def by_hand(document: Document) -> str:
    """The text without what is generated and without code."""
    hidden = generated_lines(document)
    for fence in document.fences:
        assert fence.map
        hidden |= set(range(*fence.map))
    lines = document.text.splitlines()
    return "\n".join(line for number, line in enumerate(lines) if number not in hidden)


@steps
def test_a_chapter_says_what_its_step_lost(chapter: Document) -> None:
    number = chapter.path.name[:2]
    assert number == "01" or f"<!-- losses {number} -->" in chapter.text


def test_everything_generated_is_current() -> None:
    assert sync.sync(check=True) == [], "run `surge sync`"


@documents
def test_code_is_generated_or_says_why_it_is_not(document: Document) -> None:
    generated = generated_lines(document)
    lines = document.text.splitlines()
    for fence in document.fences:
        assert fence.map
        line = fence.map[0]
        if fence.info in CHECKED and line not in generated:
            above = lines[line - 1]
            assert BY_HAND.fullmatch(above), f"line {line + 1}: put `<!-- by hand: why -->` above"


@documents
def test_links_and_pictures_lead_somewhere(document: Document) -> None:
    for link in document.links:
        if link.startswith(("https:", "mailto:")):
            continue
        path, _, heading = link.partition("#")
        target = (document.path.parent / path).resolve() if path else document.path
        assert target.exists(), f"{link} leads nowhere"
        if heading:
            assert heading in Document(target).anchors, f"{link}: no such heading"


@checkpoints_
def test_a_failing_claim_sends_the_reader_to_its_explanation(step: Checkpoint) -> None:
    reasons = [claim.because for claim in step.claims] + [p.because for p in step.predictions]
    for reason in reasons:
        path, _, heading = reason.partition("#")
        chapter = Document(ROOT / path)
        assert chapter in STEPS[: step.number], f"{reason}: not a chapter one has read by then"
        assert heading in chapter.anchors, f"{reason}: no such heading"


@steps
def test_a_chapter_has_the_shape_of_a_chapter(chapter: Document) -> None:
    assert chapter.headings(2) == SHAPE
    opening = chapter.text.partition("## ")[0]
    assert re.search(r"^\*About \d+ minutes\.", opening, re.MULTILINE)
    assert "**By the end you can**" in opening


@checkpoints_
def test_a_checkpoint_has_a_chapter_that_shows_all_of_it(step: Checkpoint) -> None:
    chapter = Document(ROOT / "chapters" / f"{step.number:02d}-{step.name}.md")
    assert chapter.headings(1) == [f"{step.number:02d} · {step.title}"]
    blocks = {(block.kind, *block.arguments) for block in sync.find_blocks(chapter.text)}
    number, below = f"{step.number:02d}", f"{step.number - 1:02d}"
    assert {("predict", number), ("claims", number)} <= blocks
    assert step.predictions, "there is nothing to predict"
    if step.number > 1:
        shown = {("comparison", below, number, workload) for workload in step.shows}
        assert {("stat", below, number), *shown} <= blocks


def test_the_chapters_lead_from_one_to_the_next() -> None:
    names = ["00-before-you-climb.md"]
    names += [f"{step.number:02d}-{step.name}.md" for step in checkpoints()]
    for name, following in pairwise(names):
        assert following in Document(ROOT / "chapters" / name).links, f"{name} does not lead on"


@steps
def test_every_question_has_its_answer_folded_away(chapter: Document) -> None:
    section = chapter.text.partition("\n## Questions\n")[2].partition("\n## ")[0]
    assert section.count("<summary>") == section.count("</details>") >= 3


@steps
def test_a_chapter_hands_the_keyboard_over(chapter: Document) -> None:
    section = chapter.text.partition("\n## Your turn\n")[2].partition("\n## ")[0]
    assert "surge check" in section
    assert chapter.path.name.startswith("01") or "surge start" in section


@checkpoints_
def test_hints_help(step: Checkpoint) -> None:
    assert all(len(hint.text.split()) > 3 for hint in step.hints)
    assert step.number == 1 or len(step.hints) >= 3


@chapters
def test_measured_numbers_stand_in_generated_blocks_only(chapter: Document) -> None:
    for line in by_hand(chapter).splitlines():
        found = MEASURED.search(line)
        assert not found or line.startswith("|"), f"generate it from a row: {line}"


@documents
def test_every_command_can_be_typed(document: Document) -> None:
    group = typer.main.get_command(cli.app)
    for command in commands(document):
        name, *arguments = shlex.split(command, comments=True)
        found = group.get_command(typer.Context(group), name)  # type: ignore[attr-defined]
        assert found, f"there is no `surge {name}`"
        if arguments:  # without, it is only mentioned
            found.make_context(name, arguments)


@cache
def names_of_tests(path: Path) -> set[str]:
    """The test functions in a module, or in all modules of a folder."""
    modules = [path] if path.is_file() else path.rglob("test_*.py")
    return {name for one in modules for name in re.findall(r"def (test_\w+)", one.read_text())}


STEP_IDS = {word for step in checkpoints() for word in step.label.split()}
"""Tests that run at a step have its label in their ids."""
PYTEST = re.compile(r'pytest ((?:tests[\w/.]+ ?)+)(?:-k ("[^"]+"|\w+))?')


@documents
def test_every_test_that_is_named_exists(document: Document) -> None:
    assert set(re.findall(r"::(test_\w+)", document.text)) <= names_of_tests(ROOT / "tests")
    for paths, chosen in PYTEST.findall(document.text):
        for path in paths.split():
            names = names_of_tests(ROOT / path)
            assert names, f"no tests in {path}"
            for word in set(re.findall(r"\w+", chosen)) - {"and", "or", "not"}:
                selected = any(word in name for name in names) or word in STEP_IDS
                assert selected, f"{path} -k {word} selects nothing"


def commands(document: Document) -> list[str]:
    """What the document tells the reader to type after `surge`."""
    typed = [line for fence in document.fences for line in fence.content.splitlines()]
    typed += [
        child.content
        for token in document.tokens
        for child in token.children or []
        if child.type == "code_inline"
    ]
    found = [re.match(r"(?:uv run )?surge ([a-z].*)", line) for line in typed]
    return [match[1] for match in found if match]


@steps
def test_the_ledger_gives_a_verdict_and_a_way_to_check_it(chapter: Document) -> None:
    section = chapter.text.partition("\n## What the articles say\n")[2]
    rows = [line for line in section.splitlines() if re.match(r"\| A\d\d", line)]
    assert rows
    for row in rows:
        assert row.count("|") == 5, f"id, advice, verdict, check: {row}"
        assert "`" in row.split("|")[4], f"how does one check it? {row}"


def test_everything_that_is_shown_is_recorded() -> None:
    waiting = [
        f"{chapter}: {line}"
        for chapter in CHAPTERS
        for line in chapter.text.splitlines()
        if any(words in line for words in ("Not recorded yet", "| *not yet* |"))
    ]
    assert waiting == []


def test_the_glossary_explains_words_the_chapters_use_in_order() -> None:
    glossary = Document(ROOT / "chapters" / "glossary.md")
    terms = glossary.headings(2)
    assert terms == sorted(terms, key=str.lower)
    rest = " ".join(chapter.text for chapter in CHAPTERS if chapter.path != glossary.path).lower()
    unused = [term for term in terms if term.lower().split(" (")[0] not in rest]
    assert not unused
