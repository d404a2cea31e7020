"""Pieces of source files, for the listings of a chapter."""

import ast
import re
import textwrap

from stack.errors import StackError
from stack.paths import ROOT

LANGUAGES = {".py": "python", ".sql": "sql", ".toml": "toml", ".template": "nginx"}


def listing(path: str, name: str = "") -> str:
    """A code block: a whole file, or the function, class, method or variable called `name`.

    In a configuration (`.template`), `name` is a directive.

    Raises:
        StackError: no such file, or nothing of that name in it.
    """
    file = ROOT / path
    try:
        text = file.read_text(encoding="utf-8")
    except OSError:
        raise StackError(f"There is no file {path} to cut a listing from.") from None
    if name:
        try:
            text = (passage if file.suffix == ".template" else definition)(text, name)
        except LookupError:
            raise StackError(f"{path} defines no {name}. Mend the listing's marker.") from None
    return code_block(LANGUAGES.get(file.suffix, "text"), text)


def definition(text: str, name: str) -> str:
    """The definition called `name` (`Class.method` for a method), with the comment above it.

    Raises:
        LookupError: nothing of that name is defined.
    """
    body = ast.parse(text).body
    for part in name.split("."):
        found = next((node for node in body if part in defined_names(node)), None)
        if found is None:
            raise LookupError(name)
        body = getattr(found, "body", [])
    assert found is not None
    lines = text.splitlines()
    decorators = getattr(found, "decorator_list", [])
    first = min([found.lineno, *(decorator.lineno for decorator in decorators)]) - 1
    while first and lines[first - 1].lstrip().startswith("#"):
        first -= 1
    return textwrap.dedent("\n".join(lines[first : found.end_lineno]))


def passage(text: str, directive: str) -> str:
    """The lines around a directive, up to blank lines; of a block, all lines to its closing brace.

    Raises:
        LookupError: no line begins with it.
    """
    lines = text.splitlines()
    found = (n for n, line in enumerate(lines) if re.match(rf"\s*{re.escape(directive)}\b", line))
    first = next(found, None)
    if first is None:
        raise LookupError(directive)
    while first and lines[first - 1].strip():
        first -= 1
    cut: list[str] = []
    for line in lines[first:]:
        if not line.strip() and depth(cut) <= 0:
            break
        cut.append(line)
    while depth(cut) < 0:  # without the brace that closes a block around it
        cut.pop()
    return textwrap.dedent("\n".join(cut))


def depth(lines: list[str]) -> int:
    """How many braces are open at the end."""
    text = "".join(lines)
    return text.count("{") - text.count("}")


def defined_names(statement: ast.stmt) -> list[str]:
    """The names a statement defines."""
    match statement:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return [name]
        case ast.Assign(targets=targets):
            return [target.id for target in targets if isinstance(target, ast.Name)]
        case ast.AnnAssign(target=ast.Name(id=name)):
            return [name]
    return []


def code_block(language: str, text: str) -> str:
    """A fenced code block, its fence longer than any in the text."""
    fence = "```"
    while fence in text:
        fence += "`"
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"
