"""What a terminal shows, as an SVG document and as text."""

from io import StringIO

from rich.color import parse_rgb_hex
from rich.console import Console, RenderableType
from rich.terminal_theme import TerminalTheme

from surge.present.themes import DARK

COLUMNS = 80

FORMAT = """\
<svg viewBox="0 0 {width} {height}" xmlns="http://www.w3.org/2000/svg">
<style>
.{unique_id}-matrix {{ font: {char_height}px/{line_height}px ui-monospace, monospace; }}
{styles}
</style>
<defs>
{lines}
</defs>
<rect width="100%" height="100%" rx="8" fill="PAPER"/>
<g class="{unique_id}-matrix" transform="translate({terminal_x}, 28)">
{matrix}
</g>
</svg>
""".replace("PAPER", DARK.paper)
"""The reader's own monospaced font, and no window around it."""


def svg(*lines: RenderableType) -> str:
    """An SVG document, in colour on a dark ground."""
    return _printed(lines).export_svg(title="", theme=_theme(), code_format=FORMAT, unique_id="t")


def text(*lines: RenderableType) -> str:
    """Bare text, without blanks at the ends of lines."""
    printed = _printed(lines).export_text()
    return "\n".join(line.rstrip() for line in printed.splitlines())


def _printed(lines: tuple[RenderableType, ...]) -> Console:
    console = Console(
        file=StringIO(), record=True, width=COLUMNS, force_terminal=True, color_system="truecolor"
    )
    console.print(*lines, sep="\n", highlight=False)
    return console


def _theme() -> TerminalTheme:
    """The figures' dark theme; red, green, yellow and magenta as the report shows verdicts."""
    red, green, yellow, magenta = "#ff8f8f", "#5fd38a", "#e8b84a", "#d7a6ee"
    paper, ink = DARK.paper, DARK.ink
    colours = [paper, red, green, yellow, DARK.new, magenta, DARK.new, ink]
    return TerminalTheme(_rgb(paper), _rgb(ink), [_rgb(colour) for colour in colours])


def _rgb(colour: str) -> tuple[int, int, int]:
    return parse_rgb_hex(colour.removeprefix("#"))
