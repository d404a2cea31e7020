"""The report, opened in a real browser as a reader opens it."""

import json
import re
import subprocess
from html import escape, unescape
from itertools import pairwise
from pathlib import Path
from typing import Any

import made_up
import pytest

from stack.paths import ROOT
from surge.climb import report
from surge.results.rows import ClaimRow, Comparison

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WIDTHS = [320, 390, 919, 920, 1280]

# Looks at the report in frames of several widths, and writes what it finds as JSON.
INSPECT = """
function luminance(colour) {
  const [red, green, blue] = colour.match(/[\\d.]+/g).slice(0, 3).map((c) => {
    c /= 255;
    return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}
function paper(element) {
  for (; element; element = element.parentElement) {
    const colour = getComputedStyle(element).backgroundColor;
    if (!colour.endsWith(", 0)")) return colour;
  }
}
function inspect(frame) {
  const page = frame.contentDocument;
  for (const details of page.querySelectorAll("details")) details.open = true;
  const root = page.documentElement;
  const room = root.clientWidth;
  const found = { width: frame.clientWidth, sticking: [], faint: [] };
  found.overflow = root.scrollWidth - room;
  found.paper = getComputedStyle(page.body).backgroundColor;
  found.images = [...page.querySelectorAll("picture")].map((picture) => {
    const image = picture.querySelector("img");
    const shown = [...picture.children].findIndex((s) => (s.srcset || s.src) === image.currentSrc);
    return { shown, loaded: image.naturalWidth > 0, width: image.clientWidth };
  });
  for (const element of page.querySelectorAll("body *")) {
    const text = [...element.childNodes].filter((n) => n.nodeType === 3 && n.data.trim());
    if (!text.length || element.closest("thead") || !element.checkVisibility()) continue;
    const range = page.createRange();
    range.selectNodeContents(text[0]);
    const box = range.getBoundingClientRect();
    const what = text[0].data.trim();
    if (box.left < 0 || box.right > room) found.sticking.push(what);
    const both = [getComputedStyle(element).color, paper(element)].map(luminance).sort();
    if ((both[1] + 0.05) / (both[0] + 0.05) < 4.5) found.faint.push(what);
  }
  return found;
}
window.addEventListener("load", () => {
  const found = [...document.querySelectorAll("iframe")].map(inspect);
  document.body.textContent = JSON.stringify(found);
});
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = report.write(made_up.climb(), tmp_path_factory.mktemp("report") / "new" / "report.html")
    return path.read_text(encoding="utf-8")


def text(page: str) -> str:
    """The words of the page."""
    bare = re.sub(r"<style>.*?</style>|<[^>]*>", " ", page, flags=re.DOTALL)
    return " ".join(unescape(bare).split())


@pytest.fixture(scope="module", params=["light", "dark"])
def seen(
    page: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> list[dict[str, Any]]:
    """What the browser shows, width by width, in one colour scheme."""
    if not CHROMIUM.exists():
        pytest.skip(f"{CHROMIUM} is not installed")
    folder = tmp_path_factory.mktemp("browser")
    frames = "".join(
        f'<iframe width="{width}" height="800" style="border:0" srcdoc="{escape(page)}"></iframe>'
        for width in WIDTHS
    )
    wrapper = folder / "wrapper.html"
    wrapper.write_text(
        f"<!doctype html><meta charset=utf-8><script>{INSPECT}</script><body>{frames}"
    )
    scheme = {"dark": 0, "light": 1}[request.param]
    command = [
        CHROMIUM,
        *FLAGS,
        f"--user-data-dir={folder}",
        f"--blink-settings=preferredColorScheme={scheme}",
        "--dump-dom",
        wrapper.as_uri(),
    ]
    shown = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout
    body = re.search(r"<body>(.*)</body>", shown, re.DOTALL)
    assert body
    found: list[dict[str, Any]] = json.loads(unescape(body[1]))
    assert [frame["width"] for frame in found] == WIDTHS
    dark = found[0]["paper"] == "rgb(18, 22, 28)"
    assert dark == (request.param == "dark")
    return [{**frame, "dark": dark} for frame in found]


def test_no_element_overflows_at_any_width(seen: list[dict[str, Any]]) -> None:
    for frame in seen:
        assert frame["overflow"] == 0
        assert frame["sticking"] == []


def test_all_text_has_enough_contrast(seen: list[dict[str, Any]]) -> None:
    for frame in seen:
        assert frame["faint"] == []


def test_figures_suit_the_width_and_the_colour_scheme(seen: list[dict[str, Any]]) -> None:
    for frame in seen:
        tall = frame["width"] < 920
        expected = (1 if tall else 0) if frame["dark"] else (4 if tall else 2)
        assert [image["shown"] for image in frame["images"]] == [expected] * 3
        assert all(image["loaded"] for image in frame["images"])
        assert all(image["width"] > min(500, 0.65 * frame["width"]) for image in frame["images"])


def test_the_page_loads_nothing(page: str) -> None:
    addresses = re.findall(r'(?:src|srcset|href|url)\s*[=(]\s*"?([^"\s>)]+)', page)
    assert addresses
    allowed = re.compile(r"data:|#|(\.\./)*[\w./ -]+\.md(#.*)?$|\.\./")
    assert [address[:60] for address in addresses if not allowed.match(address)] == []
    assert "<script" not in page
    assert "default-src 'none'" in page


def test_the_title_is_the_largest_step(page: str) -> None:
    heading = re.search(r"<h1>(.*?)</h1>", page, re.DOTALL)
    assert heading
    assert text(heading[1]) == "05 async answers offers at least 14.6x as fast as 04 pool"


def test_the_title_names_no_step_when_none_was_faster(tmp_path: Path) -> None:
    control = made_up.climb()[-1]
    page = report.page([control], tmp_path)
    assert "No step was measurably faster" in text(page)


def test_the_title_says_so_when_every_run_was_rejected(
    tmp_path: Path,
) -> None:
    rejected = [row for row in made_up.climb() if isinstance(row, Comparison) and row.rejected]
    assert rejected
    assert "Nothing could be measured" in text(report.page(rejected, tmp_path))


def test_every_claim_is_there_with_its_count_and_verdict(page: str) -> None:
    claims = [row for row in made_up.climb() if isinstance(row, ClaimRow)]
    lines = [text(line) for line in re.findall(r"<tr.*?</tr>", page, re.DOTALL)]
    for claim in claims:
        verdict = "✓ holds" if claim.holds else "✕ does not hold"
        wanted = f"{claim.name} {claim.counter} on {claim.workload} {claim.expected}"
        assert f"{wanted} {claim.value:g} {verdict}" in lines


def test_every_verdict_has_its_ratios_and_intervals(page: str) -> None:
    said = text(page)
    assert (
        "list 02 queries against 01 naive, 16 connections ▲ faster 5.37x (5.10-5.69) "
        "4.64x (4.41-4.92) 3.64x (3.46-3.86)" in said
    )
    assert "detail 05 async against 05 async, 16 connections ≈ cannot tell 1.00x" in said


def test_rejected_runs_stay_with_their_reason(page: str) -> None:
    said = text(page)
    assert "04 pool against 03 pages on orders : other programs used 31 % of the machine" in said
    assert "runs rejected 1" in said


def test_machine_versions_and_commit_are_named(page: str) -> None:
    said = text(page)
    for fact in ("Made-up 3000, 2 cores, 8.0 GB", "CPython 3.11.7", "fastapi 0.165.0"):
        assert fact in said
    assert "0123456789ab" in said
    assert said.count("Made-up 3000") == 1


def test_links_lead_to_the_chapters_from_where_the_report_lies(tmp_path: Path) -> None:
    folder = ROOT / ".surge"
    page = report.page([made_up.contract("01 naive"), made_up.claim("01 naive", "x", 1)], folder)
    assert 'href="../chapters/01-naive.md#count"' in page


def test_text_from_rows_is_escaped(tmp_path: Path) -> None:
    page = report.page([made_up.claim("01 naive", "<script>alert(1)</script>", 1)], tmp_path)
    assert "<script>" not in page


def test_headings_have_an_order_and_names_are_unique(page: str) -> None:
    levels = [int(level) for level in re.findall(r"<h([1-6])", page)]
    assert levels.count(1) == 1
    assert all(lower <= upper + 1 for upper, lower in pairwise(levels))
    names = re.findall(r' id="([^"]+)"', page)
    assert len(names) == len(set(names))
    named = re.findall(r'(?:href="#|aria-labelledby=")([^"]+)"', page)
    assert set(named) <= set(names)


def test_every_image_has_alt_text_and_a_table(page: str) -> None:
    figures = re.findall(r"<figure>.*?</figure>", page, re.DOTALL)
    assert len(figures) == 3
    for figure in figures:
        alt = re.search(r'alt="([^"]+)"', figure)
        assert alt
        assert "checkpoints on the workload" in alt[1]
        assert "<table" in figure
